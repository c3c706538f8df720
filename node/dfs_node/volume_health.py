"""Whether a volume may be trusted with new bytes. After a failed write or fsync it may not.

The kernel forgets the pages that it could not write: a second fsync would report success for bytes that are not
on the disk. So there is no second try. The volume stays failed over restarts, until a full verifying pass.
"""

import errno
import logging
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from dfs_runtime.files import fsync_directory, write_atomically
from dfs_wire.errors import BusyError, NoSpaceError, VolumeFailedError

MARKER = "failed"
#: There from a full verifying pass until a master was told of it: only that clears what the master remembers.
VERIFIED = "verified"

#: The disk or a quota is full; what was written so far is thrown away, and the disk is well.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: The process ran out of something before it wrote anything; the disk is well.
LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

log = logging.getLogger(__name__)


class VolumeHealth:
    """Remembers a volume's failure in memory and in its `failed` file. Safe to share between threads."""

    def __init__(self, volume: Path) -> None:
        self._marker = volume / MARKER
        self._verified = volume / VERIFIED
        self._lock = threading.Lock()
        self._reason = self._read_marker()

    @property
    def reason(self) -> str | None:
        """Why the volume takes nothing, or None where it does."""
        with self._lock:
            return self._reason

    def require_writable(self) -> None:
        """Called before bytes are taken, and again before they are acknowledged.

        Raises:
            VolumeFailedError: the volume has failed.
        """
        reason = self.reason
        if reason is not None:
            raise VolumeFailedError(
                f"the volume had an I/O error ({reason}); replace the disk, or stop the node and let "
                "'dfs-node verify' read all of it"
            )

    def fail(self, reason: str) -> None:
        """Take nothing from now on. The marker may not get written on a broken disk: the master remembers too."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
        log.error("the volume has failed: %s", reason)
        try:
            write_atomically(self._marker, reason.encode())
        except OSError as error:
            log.warning("the failure could not be recorded on the volume: %s", error)

    def clear(self) -> None:
        """A full verifying pass found every chunk in order.

        Raises:
            OSError: the markers cannot be changed.
        """
        write_atomically(self._verified, b"")
        self._marker.unlink(missing_ok=True)
        fsync_directory(self._marker.parent)
        with self._lock:
            self._reason = None

    @property
    def verified(self) -> bool:
        """Whether a pass cleared the volume and no master knows yet."""
        return self.reason is None and self._verified.exists()

    def forget_verified(self) -> None:
        """A master knows. The file may stay if it cannot be removed: then the next master hears it again."""
        if self._verified.exists():
            with suppress(OSError):
                self._verified.unlink()
                fsync_directory(self._verified.parent)

    def guard(self, doing: str, *, harmless: frozenset[int] = FULL) -> "Guard":
        """Turn what the disk says into our errors, and judge the volume by it: all but `harmless` errors fail it.

        Raises:
            NoSpaceError: the disk or a quota is full.
            BusyError: the process is out of descriptors or memory.
            VolumeFailedError: the volume has failed.
        """
        return Guard(self, doing, harmless)

    def _read_marker(self) -> str | None:
        try:
            return self._marker.read_text(errors="replace") or "unknown"
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"its '{MARKER}' file cannot be read: {error.strerror}"


class Guard:
    """A block of disk calls, see `VolumeHealth.guard`. A class rather than a generator: each put enters several."""

    __slots__ = ("_doing", "_harmless", "_health")

    def __init__(self, health: VolumeHealth, doing: str, harmless: frozenset[int]) -> None:
        self._health = health
        self._doing = doing
        self._harmless = harmless

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno in self._harmless & FULL:
            raise NoSpaceError("the volume is full; add a node, or delete something") from error
        if error.errno in self._harmless & LIMITS:
            raise BusyError(f"the node is out of descriptors or memory ({error.strerror}); try again") from error
        self._health.fail(f"{self._doing}: {error.strerror}")
        raise VolumeFailedError(
            f"the volume failed ({self._doing}: {error.strerror}); upload to another node"
        ) from error
