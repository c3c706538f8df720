"""What a node is told at its start, checked before anything begins."""

from dataclasses import dataclass
from pathlib import Path

from dfs_wire.errors import ProtocolError, UsageError
from dfs_wire.transport import format_address, parse_address

#: Hosts to listen on that nobody can connect to.
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """The settings of one node. Addresses are `host:port`; empty ones follow from `listen`."""

    volume: Path
    name: str
    master: str
    listen: str
    cluster_address: str = ""
    public_address: str = ""
    zone: str = ""
    join_token: bytes | None = None
    expect_node: int | None = None
    log_file: Path | None = None
    log_level: str = "INFO"

    def check(self) -> None:
        """Say everything that is wrong at once.

        Raises:
            UsageError: something is.
        """
        faults = [] if self.name.strip() else ["--name must not be empty"]
        for option, address in (
            ("--master", self.master),
            ("--listen", self.listen),
            ("--cluster-address", self.cluster_address or self.listen),
            ("--public-address", self.public_address or self.listen),
        ):
            try:
                parse_address(address)
            except ProtocolError as error:
                faults.append(f"{option}: {error}")
        if not faults and not self.cluster_address and parse_address(self.listen)[0] in _EVERYWHERE:
            faults.append("--cluster-address must say how others reach this node, because it listens everywhere")
        if faults:
            raise UsageError("; ".join(faults))

    def addresses(self, listening: str) -> tuple[str, str]:
        """The addresses for inside and outside, once the real port is known. Port 0 stands for that port."""
        port = parse_address(listening)[1]
        inside = _with_port(self.cluster_address or self.listen, port)
        return inside, _with_port(self.public_address or inside, port)


def _with_port(address: str, port: int) -> str:
    host, given = parse_address(address)
    return format_address(host, given or port)


def read_join_token(path: Path) -> bytes:
    """A join token's bytes from a file that holds its hex text.

    Raises:
        UsageError: there is no such file, or it holds something else.
    """
    try:
        token = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise UsageError(f"the join token cannot be read from {path} ({error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"{path} holds no join token; 'dfs-master init' prints one") from error
    if not token:
        raise UsageError(f"{path} is empty; 'dfs-master init' prints a join token")
    return token
