"""Whether a port is free, asked of the machine itself."""

import socket

import pytest

from dfs_wire.errors import UsageError
from dfs_wire.port_probe import port_is_free


def test_a_port_that_is_listened_on_is_taken_and_free_afterwards() -> None:
    """Also on another address of the machine, when the listener has all of them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not port_is_free("127.0.0.1", port)
        assert not port_is_free("localhost", port)
    assert port_is_free("127.0.0.1", port)
    with socket.create_server(("0.0.0.0", 0)) as everywhere:  # noqa: S104 - that is the case
        assert not port_is_free("127.0.0.1", everywhere.getsockname()[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_of_another_machine_is_a_usage_error(host: str) -> None:
    """Nothing could ever listen there."""
    with pytest.raises(UsageError):
        port_is_free(host, 5000)
