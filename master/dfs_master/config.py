"""What a master is told at start. Paths and addresses only: everything a cluster must agree on is in its database."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dfs_runtime.files import AlreadyLockedError, exclusive_lock
from dfs_wire.errors import VolumeInUseError

DATABASE_FILE = "metadata.db"
LOCK_FILE = "lock"


@dataclass(frozen=True, slots=True)
class MasterConfig:
    """Immutable. `line_allowed`: addresses and networks besides loopback that may use the line protocol;
    `gateway` stands for the default gateway at the start.
    """

    data: Path
    listen: str = "127.0.0.1:5000"
    log_file: Path | None = None
    log_level: str = "INFO"
    line_protocol: bool = True
    line_allowed: tuple[str, ...] = field(default=())

    @property
    def database(self) -> Path:
        """The metadata database."""
        return self.data / DATABASE_FILE


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Keep other masters out of a directory for the length of the block.

    Raises:
        VolumeInUseError: one serves it already.
    """
    with ExitStack() as lock:
        try:
            lock.enter_context(exclusive_lock(data / LOCK_FILE))
        except AlreadyLockedError as error:
            raise VolumeInUseError(f"a master serves {data}; stop it first") from error
        yield
