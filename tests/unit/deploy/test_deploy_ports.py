"""Which ports a cluster gets."""

import pytest
from tests.support.deploy import make_spec

from dfs_deploy.ports import PORT_SEARCH_MAX, choose_ports, reserved_ports
from dfs_wire.errors import ConflictError, UnavailableError, UsageError


def choose(count: int, first: int | None = None, *, taken: set[int] | None = None, **reserved: str) -> list[int]:
    """Ports on a machine where `taken` are listened on; `reserved` maps `p5000` to a cluster."""
    busy = taken or set()
    return choose_ports(
        count=count,
        first=first,
        host="127.0.0.1",
        reserved={int(port[1:]): name for port, name in reserved.items()},
        probe=lambda _host, port: port not in busy,
    )


def test_the_first_cluster_gets_5000_and_the_ports_behind() -> None:
    """What people expect to see."""
    assert choose(4) == [5000, 5001, 5002, 5003]


def test_taken_and_reserved_ports_are_passed_over() -> None:
    """Another program's port, and that of a stopped cluster."""
    assert choose(3, taken={5000, 5002}, p5001="other") == [5003, 5004, 5005]


def test_a_port_that_was_asked_for_is_the_first() -> None:
    """The nodes take the next free ones."""
    assert choose(3, 7000, taken={7001}) == [7000, 7002, 7003]
    assert choose(1, 7000) == [7000]


def test_a_taken_port_that_was_asked_for_is_refused() -> None:
    """Nobody gets another port than the one named."""
    with pytest.raises(ConflictError, match="Port 7000 is taken"):
        choose(3, 7000, taken={7000})


def test_the_port_of_a_stopped_cluster_is_refused_with_its_name() -> None:
    """It would be missing when that one starts again."""
    with pytest.raises(ConflictError, match="'other'"):
        choose(3, 7000, p7000="other")


@pytest.mark.parametrize("port", [0, -1, 80, 65_536])
def test_ports_that_cannot_be_are_usage_errors(port: int) -> None:
    """Including those that need root."""
    with pytest.raises(UsageError):
        choose(1, port)


def test_a_machine_without_free_ports_is_told_so() -> None:
    """The search ends."""
    with pytest.raises(UnavailableError):
        choose(2, taken=set(range(5000, PORT_SEARCH_MAX)))
    with pytest.raises(UnavailableError):
        choose(2, 65_535)


def test_ports_of_all_other_clusters_are_reserved() -> None:
    """A cluster's own ports are not in its way."""
    other = make_spec("other", nodes=1, master_port=6000)
    assert reserved_ports([make_spec(), other], besides="demo") == {6000: "other", 5001: "other"}
