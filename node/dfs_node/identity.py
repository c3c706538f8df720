"""Who a volume is. One volume is one identity: it is made once, moves with the directory, and is never guessed.

The file `identity` (0600) is `DFSIDENT`, a CRC32C of the rest (4 bytes, big-endian), and a msgpack map of
`Identity`. It is replaced atomically and fsynced on every change. Node id 0 means: initialised, not yet joined.
"""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dfs_node.volume_directory import is_empty, using
from dfs_runtime.files import make_directory, write_secret
from dfs_wire.checksum import crc32c
from dfs_wire.errors import CorruptError, VolumeFailedError, VolumeForeignError

FILE = "identity"
MAGIC = b"DFSIDENT"
#: Format of the whole volume. A newer one is refused.
FORMAT = 1

log = logging.getLogger(__name__)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a node must know again after a restart. `registration` is the last number that it proposed."""

    format: int = FORMAT
    cluster_id: str = ""
    node_id: int = 0
    node_key: bytes = b""
    registration: int = 0
    highest_epoch: int = 0
    highest_commit_seq: int = 0

    @property
    def joined(self) -> bool:
        """Whether a master gave it an id and a key."""
        return self.node_id != 0

    def __repr__(self) -> str:
        """Without the key: an identity may stand in a log."""
        return f"Identity(node_id={self.node_id}, cluster_id={self.cluster_id!r}, registration={self.registration})"


def encode_identity(identity: Identity) -> bytes:
    """The content of the file."""
    body = msgspec.msgpack.encode(identity)
    return MAGIC + crc32c(body).to_bytes(4, "big") + body


def decode_identity(data: bytes, path: Path) -> Identity:
    """Read the content of the file.

    Raises:
        CorruptError: it was altered.
        VolumeForeignError: a newer program wrote it.
    """
    magic, checksum, body = data[:8], data[8:12], data[12:]
    if magic != MAGIC or crc32c(body).to_bytes(4, "big") != checksum:
        raise CorruptError(f"{path} is damaged; restore it from a backup, or join with an empty volume")
    try:
        identity = msgspec.msgpack.decode(body, type=Identity)
    except msgspec.DecodeError as error:
        raise CorruptError(f"{path} is damaged ({error}); restore it, or join with an empty volume") from error
    if identity.format > FORMAT:
        raise VolumeForeignError(f"{path} was written by a newer dfs (format {identity.format}); upgrade this node")
    return identity


class IdentityFile:
    """The identity in memory and on disk; what `current` says is durable. Safe to share between threads."""

    def __init__(self, path: Path, identity: Identity) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._current = identity

    @property
    def current(self) -> Identity:
        """The identity as it is on disk."""
        with self._lock:
            return self._current

    def propose_registration(self) -> int:
        """The next registration number, durable before it is returned.

        A first join proposes 1 however often it is tried: so the master knows a node whose answer was lost.

        Raises:
            VolumeFailedError: it could not be written.
        """
        with self._lock:
            number = self._current.registration + 1 if self._current.joined else 1
            if number != self._current.registration:
                self._replace(msgspec.structs.replace(self._current, registration=number))
            return number

    def join(self, *, cluster_id: str, node_id: int, node_key: bytes) -> None:
        """Keep what the master gave on a first join.

        Raises:
            VolumeFailedError: it could not be written.
        """
        with self._lock:
            self._replace(
                msgspec.structs.replace(self._current, cluster_id=cluster_id, node_id=node_id, node_key=node_key)
            )

    def raise_epoch(self, epoch: int, commit_seq: int) -> None:
        """Keep a higher epoch, before any of its orders is obeyed.

        Raises:
            VolumeFailedError: it could not be written.
        """
        with self._lock:
            if epoch > self._current.highest_epoch:
                self._replace(
                    msgspec.structs.replace(
                        self._current,
                        highest_epoch=epoch,
                        highest_commit_seq=max(commit_seq, self._current.highest_commit_seq),
                    )
                )

    def remember(self, commit_seq: int) -> None:
        """Keep a higher commit_seq: the mark by which an older database is known, also after everybody lost power.

        Raises:
            VolumeFailedError: it could not be written.
        """
        with self._lock:
            if commit_seq > self._current.highest_commit_seq:
                self._replace(msgspec.structs.replace(self._current, highest_commit_seq=commit_seq))

    def _replace(self, identity: Identity) -> None:
        try:
            write_secret(self._path, encode_identity(identity))
        except OSError as error:
            raise VolumeFailedError(
                f"{self._path} cannot be written ({error.strerror}); free some space, or replace the disk"
            ) from error
        self._current = identity


def load_identity(volume: Path) -> Identity | None:
    """The identity of a directory, or None where there is none.

    Raises:
        CorruptError, VolumeForeignError: as `decode_identity`.
        VolumeFailedError: it cannot be read.
    """
    path = volume / FILE
    try:
        return decode_identity(path.read_bytes(), path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise VolumeFailedError(f"{path} cannot be read ({error.strerror}); check the disk") from error


@dataclass(frozen=True, slots=True)
class Claim:
    """By what right a node uses a directory: a join token allows a new volume, unless a node id is expected."""

    may_join: bool
    expected_node: int | None = None

    def check(self, volume: Path, identity: Identity | None) -> None:
        """May this node live in that directory? Nothing is written.

        Raises:
            VolumeForeignError: no; a forgotten mount must not become an empty volume on the disk below.
        """
        found = identity.node_id if identity is not None else 0
        if self.expected_node is not None and found != self.expected_node:
            what = f"node {found}" if found else "no identity"
            raise VolumeForeignError(
                f"node {self.expected_node} was expected in {volume}, and {what} is there; is a mount forgotten? "
                "Where the disk is new and empty: `dfs node replace NODE`"
            )
        if found:
            return
        if not self.may_join:
            raise VolumeForeignError(
                f"{volume} holds no volume; mount the right directory, or give --join-token-file to join as a new node"
            )
        if identity is None and not is_empty(volume):
            raise VolumeForeignError(f"{volume} holds other files; a new node needs an empty directory of its own")


def make_volume_directory(volume: Path, claim: Claim) -> None:
    """Make the directory of a new volume, if it may be made, so that it can be held.

    Raises:
        VolumeForeignError: as `Claim.check`.
        CorruptError, VolumeFailedError: as `load_identity`.
    """
    with using(volume):
        claim.check(volume, load_identity(volume))
        if not volume.exists():
            make_directory(volume, mode=0o700)


def claim_volume(volume: Path, claim: Claim) -> IdentityFile:
    """The identity of a volume, which is initialised if it is new. The caller holds the directory.

    Raises:
        VolumeForeignError: as `Claim.check`.
        CorruptError, VolumeFailedError: as `load_identity`.
    """
    with using(volume):
        identity = load_identity(volume)
        claim.check(volume, identity)
        if identity is None:
            identity = Identity()
            write_secret(volume / FILE, encode_identity(identity))
            log.info("initialised a new volume in %s", volume)
    return IdentityFile(volume / FILE, identity)
