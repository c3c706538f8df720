"""The health probe: what counts as a sign of life."""

from typing import Any

import pytest

from dfs_wire import probe
from dfs_wire.errors import BadCredentialError, ConnectFailedError, ProtocolError
from dfs_wire.messages import Hello, Ping, Role


class FakeDialer:
    """Answers a dial with an error or a channel."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[object] = []
        self.closed = False

    def dial(self, address: str, hello: Hello) -> Any:
        """Connect."""
        self.asked.append(hello.role)
        if self.error is not None:
            raise self.error
        return self

    def call(self, request: object, _reply: object) -> None:
        """One round trip."""
        self.asked.append(request)

    def close(self) -> None:
        """Hang up."""
        self.closed = True


def test_a_node_answers_a_ping() -> None:
    """And the connection is closed again."""
    dialer = FakeDialer()
    probe.check("node:5000", dialer)
    assert dialer.asked == [Role.TICKET, Ping()]
    assert dialer.closed


def test_a_master_that_refuses_a_stranger_serves() -> None:
    """The refusal came all the way back."""
    probe.check("master:5000", FakeDialer(BadCredentialError("who are you?")))


@pytest.mark.parametrize("error", [ConnectFailedError("nobody"), ProtocolError("a web server")])
def test_everything_else_is_unhealthy(error: Exception) -> None:
    """Nobody there, or somebody else."""
    with pytest.raises(type(error)):
        probe.check("x:5000", FakeDialer(error))


def test_the_exit_code_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 or 1, and the reason on standard error."""
    monkeypatch.setattr("sys.argv", ["probe", "127.0.0.1:5000"])
    monkeypatch.setattr(probe, "SocketDialer", lambda **_: FakeDialer())
    with pytest.raises(SystemExit) as ended:
        probe.main()
    assert ended.value.code == 0
    monkeypatch.setattr(probe, "SocketDialer", lambda **_: FakeDialer(ConnectFailedError("nobody listens")))
    with pytest.raises(SystemExit, match="nobody listens"):
        probe.main()
    monkeypatch.setattr("sys.argv", ["probe"])
    with pytest.raises(SystemExit, match="unhealthy"):
        probe.main()
