"""What a cluster is, and its file."""

import pytest
from tests.support.deploy import make_spec

from dfs_deploy.spec import NodeSpec, check_name, join_address, spec_from_toml, spec_to_toml
from dfs_wire.errors import SchemaError, UsageError


@pytest.mark.parametrize(
    "spec",
    [
        make_spec(),
        make_spec(joined=True),
        make_spec(destroyed=True, public_host="box"),
        make_spec(gone=(NodeSpec(4, 5004, 4), NodeSpec(5, 5005))),
    ],
)
def test_a_cluster_reads_back_from_its_file_as_it_was_written(spec) -> None:  # noqa: ANN001
    """Nothing is lost on the way through TOML, ids that are not known yet included."""
    assert spec_from_toml(spec_to_toml(spec), "cluster.toml") == spec


@pytest.mark.parametrize("text", ["", "format = 1", "format = [", "format = 1\n[cluster]\nname = 3", "cluster = 1"])
def test_a_damaged_file_is_refused_and_named(text: str) -> None:
    """A file that is no description raises one error that names it."""
    with pytest.raises(SchemaError, match=r"/there/cluster\.toml is damaged"):
        spec_from_toml(text, "/there/cluster.toml")


def test_a_file_of_a_newer_dfs_is_refused() -> None:
    """An older program does not guess what a newer one meant."""
    with pytest.raises(SchemaError, match="newer dfs"):
        spec_from_toml("format = 2\nwhatever = 1", "cluster.toml")


@pytest.mark.parametrize("name", ["a", "demo", "my-cluster-2", "0", "a" * 40])
def test_cluster_names_of_the_alphabet_pass(name: str) -> None:
    """Small letters, digits and '-' make a name."""
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "..", "a/b", "-a", "a" * 41, "ä", "a\n", ".lock"])
def test_names_that_could_leave_their_directory_are_refused(name: str) -> None:
    """A name is a directory's name: nothing else may come of it."""
    with pytest.raises(UsageError):
        check_name(name)


def test_roles_and_ports_of_a_cluster() -> None:
    """The master comes first, nodes by number; all ports belong to the cluster."""
    spec = make_spec(nodes=2)
    assert spec.roles == ("master", "node-1", "node-2")
    assert spec.ports == {5000, 5001, 5002}
    assert spec.node("node-2").port == 5002
    # Its process may run yet.
    assert make_spec(nodes=1, gone=(NodeSpec(4, 5004),)).ports == {5000, 5001, 5004}
    with pytest.raises(KeyError):
        spec.node("node-3")


@pytest.mark.parametrize(
    ("listen", "public_host", "local", "shared", "loopback"),
    [
        ("127.0.0.1", "", "127.0.0.1", "127.0.0.1", True),
        ("localhost", "", "localhost", "localhost", True),
        ("10.0.0.5", "", "10.0.0.5", "10.0.0.5", False),
        ("0.0.0.0", "box", "127.0.0.1", "box", False),  # noqa: S104 - not listened on
        ("::", "box", "::1", "box", False),
    ],
)
def test_who_reaches_a_cluster_where(listen: str, public_host: str, local: str, shared: str, loopback: bool) -> None:
    """This machine uses the local host, others the shared one."""
    spec = make_spec(listen=listen, public_host=public_host)
    assert (spec.local_host, spec.shared_host, spec.is_loopback) == (local, shared, loopback)


def test_an_ipv6_address_stands_in_brackets() -> None:
    """Or its last colon would be taken for the port's."""
    assert join_address("::1", 5000) == "[::1]:5000"
    assert join_address("127.0.0.1", 5000) == "127.0.0.1:5000"


def test_how_a_cluster_on_another_machine_is_reached() -> None:
    """By its public host; without one by ports of this machine that are forwarded there."""
    assert make_spec(context="far", listen="::", public_host="far.example").master_address == "far.example:5000"
    assert make_spec(context="far").master_address == "127.0.0.1:5000"
    assert make_spec(context="far").engine_key == "process@far"
    assert make_spec().engine_key == "process"
