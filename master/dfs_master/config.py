"""What a master is told at start. Paths and addresses only: everything a cluster must agree on is in its database."""

from dataclasses import dataclass, field
from pathlib import Path

DATABASE_FILE = "metadata.db"
LOCK_FILE = "lock"


@dataclass(frozen=True, slots=True)
class MasterConfig:
    """Immutable. `line_allowed`: addresses and networks besides loopback that may use the line protocol."""

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
