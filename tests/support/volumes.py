"""Volumes and disks that fail, crash or lose power at a chosen call."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from blake3 import blake3

from dfs_node.disk import AnyPath, Disk, Space, SystemDisk
from dfs_node.journal import DIRECTORY, HALVES
from dfs_node.journal_format import Record, decode_header, records_of
from dfs_node.volume import ChunkWriter, InventoryItem, OpenChunk, StoredChunk, Usage, Volume
from dfs_wire.limits import GIB
from dfs_wire.messages import Finding


def chunk_of(size: int, seed: int = 0) -> tuple[bytes, bytes]:
    """Some bytes that differ from block to block, and their digest."""
    data = blake3(seed.to_bytes(8, "big")).digest(length=size)
    return data, blake3(data).digest()


def store(volume: Volume, data: bytes, generation: int = 1, piece: int = 100_000) -> StoredChunk:
    """Put a whole chunk."""
    with volume.create(blake3(data).digest(), len(data), generation) as writer:
        for at in range(0, len(data), piece):
            writer.write(memoryview(data)[at : at + piece])
        return writer.commit()


class FaultyVolume:
    """Wraps a volume; the next call of a named operation raises what was planned for it."""

    def __init__(self, inner: Volume) -> None:
        self.inner = inner
        self._planned: dict[str, list[BaseException]] = {}

    def plan(self, operation: str, error: BaseException) -> None:
        """`create`, `write`, `commit`, `committed` (after it), `open`, `verify`, `delete` or `usage` fails once."""
        self._planned.setdefault(operation, []).append(error)

    def fire(self, operation: str) -> None:
        if self._planned.get(operation):
            raise self._planned[operation].pop(0)

    def create(self, digest: bytes, size: int, generation: int, *, for_repair: bool = False) -> ChunkWriter:
        self.fire("create")
        return _FaultyWriter(self, self.inner.create(digest, size, generation, for_repair=for_repair))

    def open(self, digest: bytes) -> OpenChunk:
        self.fire("open")
        return self.inner.open(digest)

    def verify(self, digest: bytes) -> Finding:
        self.fire("verify")
        return self.inner.verify(digest)

    def delete(self, digest: bytes, generation: int) -> bool:
        self.fire("delete")
        return self.inner.delete(digest, generation)

    def usage(self) -> Usage:
        self.fire("usage")
        return self.inner.usage()

    def registered(self) -> None:
        self.inner.registered()

    def inventory(self, prefix: int) -> Iterator[InventoryItem]:
        return self.inner.inventory(prefix)

    def names(self, prefix: int) -> list[tuple[bytes, int]]:
        return self.inner.names(prefix)


class _FaultyWriter:
    def __init__(self, volume: FaultyVolume, inner: ChunkWriter) -> None:
        self._volume = volume
        self._inner = inner

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)

    def write(self, view: memoryview) -> None:
        self._volume.fire("write")
        self._inner.write(view)

    def flush(self) -> None:
        self._volume.fire("flush")
        self._inner.flush()

    def commit(self) -> StoredChunk:
        self._volume.fire("commit")
        stored = self._inner.commit()
        self._volume.fire("committed")
        return stored


class CrashError(BaseException):
    """The process is dead from here on."""


class WrappedDisk:
    """Passes every call on after `before` was asked; `calls` lists the names of all calls so far."""

    def __init__(self, inner: Disk | None = None) -> None:
        self.inner = inner or SystemDisk()
        self.calls: list[str] = []

    def before(self, name: str) -> None:
        """Raise to make the call fail."""

    def _call(self, name: str) -> Disk:
        self.calls.append(name)
        self.before(name)
        return self.inner

    def create(self, path: AnyPath) -> int:
        return self._call("create").create(path)

    def open(self, path: AnyPath) -> int:
        return self._call("open").open(path)

    def open_to_write(self, path: AnyPath) -> int:
        return self._call("open_to_write").open_to_write(path)

    def reserve(self, descriptor: int, length: int) -> None:
        self._call("reserve").reserve(descriptor, length)

    def pwrite(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        self._call("pwrite").pwrite(descriptor, data, offset)

    def start_writing(self, descriptor: int, offset: int, length: int) -> None:
        self._call("start_writing").start_writing(descriptor, offset, length)

    def pread_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        return self._call("pread_into").pread_into(descriptor, buffer, offset)

    def forget_cached(self, descriptor: int) -> None:
        self._call("forget_cached").forget_cached(descriptor)

    def fdatasync(self, descriptor: int) -> None:
        self._call("fdatasync").fdatasync(descriptor)

    def rename(self, source: AnyPath, target: AnyPath) -> None:
        self._call("rename").rename(source, target)

    def fsync_directory(self, directory: int) -> None:
        self._call("fsync_directory").fsync_directory(directory)

    def unlink(self, path: AnyPath) -> None:
        self._call("unlink").unlink(path)

    def open_directory(self, path: AnyPath) -> int:
        return self._call("open_directory").open_directory(path)

    def sync_filesystem(self, place: Path | int) -> None:
        """Not passed on to the system: a test must not flush the whole machine."""
        inner = self._call("sync_filesystem")
        if isinstance(inner, WrappedDisk):
            inner.sync_filesystem(place)

    def reports_lost_writes(self, path: Path) -> bool:
        return True

    def space(self, path: Path) -> Space:
        return self._call("space").space(path)


class FaultyDisk(WrappedDisk):
    """The n-th call from `arm` on fails, once or forever; `only` restricts it to calls of one name."""

    def __init__(self, inner: Disk | None = None) -> None:
        super().__init__(inner)
        self.fired: str | None = None
        self._left = 0
        self._code = errno.EIO
        self._forever = False
        self._only: str | None = None

    def arm(self, nth: int, code: int = errno.EIO, *, forever: bool = False, only: str | None = None) -> None:
        self.fired = None
        self._left, self._code, self._forever, self._only = nth, code, forever, only

    def before(self, name: str) -> None:
        if self._only is not None and name != self._only:
            return
        if self.fired is not None and self._forever:
            raise OSError(self._code, os.strerror(self._code))
        if self._left > 0:
            self._left -= 1
            if self._left == 0:
                self.fired = name
                raise OSError(self._code, os.strerror(self._code))


class CrashingDisk(WrappedDisk):
    """The process dies at the n-th call from `arm` on: that call and all later ones are not carried out."""

    def __init__(self, inner: Disk | None = None) -> None:
        super().__init__(inner)
        self.crashed = False
        self._left = 0

    def arm(self, nth: int) -> None:
        self._left = nth

    def before(self, name: str) -> None:
        if self._left > 0:
            self._left -= 1
            self.crashed = self._left == 0
        if self.crashed:
            raise CrashError(name)


class VolatileDisk(WrappedDisk):
    """Remembers what is not durable yet, and loses it at `lose_power`: bytes without fdatasync, names without fsync."""

    def __init__(self, inner: Disk | None = None) -> None:
        super().__init__(inner)
        self._dirty: set[tuple[int, int]] = set()
        #: What a file that was synced held then; one that was never synced comes back as zeros.
        self._synced: dict[tuple[int, int], bytes] = {}
        self._names: dict[Path, list[tuple[Path, bytes | None]]] = {}

    @staticmethod
    def _inode(descriptor: int) -> tuple[int, int]:
        found = os.fstat(descriptor)
        return found.st_dev, found.st_ino

    def pwrite(self, descriptor: int, data: bytes | memoryview, offset: int) -> None:
        super().pwrite(descriptor, data, offset)
        self._dirty.add(self._inode(descriptor))

    def fdatasync(self, descriptor: int) -> None:
        super().fdatasync(descriptor)
        inode = self._inode(descriptor)
        self._dirty.discard(inode)
        self._synced[inode] = os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    def rename(self, source: AnyPath, target: AnyPath) -> None:
        target = Path(target)
        before = target.read_bytes() if target.exists() else None
        super().rename(source, target)
        self._names.setdefault(target.parent, []).append((target, before))

    def fsync_directory(self, directory: int) -> None:
        super().fsync_directory(directory)
        self._names.pop(Path(f"/proc/self/fd/{directory}").readlink(), None)

    def sync_filesystem(self, place: Path | int) -> None:
        super().sync_filesystem(place)
        volume = Path(f"/proc/self/fd/{place}").readlink() if isinstance(place, int) else place
        for path in volume.rglob("*"):
            inode = (path.stat().st_dev, path.stat().st_ino)
            if inode in self._dirty:
                self._synced[inode] = path.read_bytes()
        self._dirty.clear()
        self._names.clear()

    def lose_power(self, volume: Path) -> None:
        """Bring the directory into the worst state that the calls so far allow."""
        for path in volume.rglob("*"):
            inode = (path.stat().st_dev, path.stat().st_ino)
            if path.is_file() and inode in self._dirty:
                path.write_bytes(self._synced.get(inode, b"").ljust(path.stat().st_size, b"\0"))
        for renames in self._names.values():
            for target, before in reversed(renames):
                if before is None:
                    target.unlink(missing_ok=True)
                else:
                    target.write_bytes(before)


class SmallDisk(WrappedDisk):
    """Says that the file system has `capacity_bytes`, of which `free_bytes` are free."""

    def __init__(self, capacity_bytes: int = GIB, free_bytes: int = GIB) -> None:
        super().__init__()
        self.capacity_bytes = capacity_bytes
        self.free_bytes = free_bytes

    def space(self, path: Path) -> Space:
        self.calls.append("space")
        return Space(self.capacity_bytes, self.free_bytes)


def journal_records(volume: Path) -> list[Record]:
    """What both halves of a volume's journal hold."""
    found: list[Record] = []
    for name in HALVES:
        content = memoryview((volume / DIRECTORY / name).read_bytes())
        lap = decode_header(content)
        assert lap is not None
        found += records_of(content, lap)
    return found
