"""The library: store, list and read files of a dfs cluster.

    from dfs_client.api import connect

    with connect() as dfs:
        dfs.upload("report.pdf", "/reports/2026/report.pdf")
        dfs.download("/reports/2026/report.pdf", "copy.pdf")

`connect()` without arguments uses the cluster deployed last on this machine. An upload that returns is durable in
every copy that its directory's policy asks for; one that raises left nothing visible, and may be repeated. Whatever
is read was verified. All errors are `dfs_wire.errors.DfsError`; each says in a sentence what to do.
"""

import io
import os
import random
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Literal, Self, overload

from msgspec.structs import replace

from dfs_client import tree
from dfs_client.admin import ADMIN_ONLY, Admin, admin_refusals
from dfs_client.dialing import RoleFinder
from dfs_client.executors import Executor, ThreadExecutor
from dfs_client.master import MasterClient
from dfs_client.profile import Settings, resolve
from dfs_client.types import (
    ClusterStatus,
    Downloaded,
    DownloadResult,
    FileStat,
    LocalPath,
    Progress,
    ProgressEvent,
    Uploaded,
    UploadResult,
)
from dfs_runtime import forks
from dfs_runtime.clock import Clock, SystemClock
from dfs_runtime.home import dfs_home
from dfs_wire.channel import Dialer
from dfs_wire.errors import DfsError, NotAllowedError, UsageError
from dfs_wire.limits import CONNECT_SECONDS, RETRY_SECONDS
from dfs_wire.messages import (
    EXPECT_ABSENT,
    EXPECT_ANY,
    AddressSet,
    DirectorySpec,
    Entry,
    Hello,
    Role,
    SpaceReply,
    UsageRow,
)
from dfs_wire.paths import join_path, split_path
from dfs_wire.pool import ChannelPool

if TYPE_CHECKING:
    # What moves bytes needs hashing and more; a client that only lists must start fast.
    from dfs_client.engine import Engine
    from dfs_client.writer import RemoteWriter

__all__ = [
    "ClusterStatus",
    "Dfs",
    "DownloadResult",
    "Downloaded",
    "FileStat",
    "Progress",
    "ProgressEvent",
    "UploadResult",
    "Uploaded",
    "connect",
]

#: The class below has a method `list`, which hides the type there.
UsageRows = list[UsageRow]

#: What names a file of this machine, rather than being a file object. A union would be made anew for each call.
_LOCAL = (str, os.PathLike)

#: Chunks and small files under way at once.
WORKERS = 8

SOFTWARE = "dfs-client"


def connect(
    profile: str | None = None,
    *,
    master: str | None = None,
    key: bytes | str | None = None,
    address_set: AddressSet | None = None,
    home: Path | None = None,
    environ: Mapping[str, str] | None = None,
    workers: int = WORKERS,
) -> "Dfs":
    """A connection to a cluster; close it, or use it in a `with` block.

    No bytes flow before the first request: that one gives up after 5 s if nobody answers.

    Args:
        profile: the cluster's name. Without it: `DFS_PROFILE`, else the cluster deployed last.
        master: the master's `host:port`, instead of the profile's. Else `DFS_MASTER`.
        key: a client key or the admin key, bytes or hex text, instead of the profile's. Else `DFS_KEY`.
        address_set: which of the nodes' two addresses to use, instead of the profile's; without one, the public.
        home: where profiles and receipts lie, instead of `DFS_HOME`.
        environ: read instead of the process's environment.
        workers: transfers under way at once.

    Raises:
        NotFoundError: no such profile, or no cluster is known.
        UsageError: the profile, key or address is malformed.
    """
    from dfs_wire.sockets import SocketDialer

    settings = resolve(profile, master=master, key=key, home=home, environ=environ)
    if address_set is not None:
        settings = replace(settings, address_set=address_set)
    receipts_home = (home or dfs_home(environ)) / "receipts"
    return Dfs(settings, dialer=SocketDialer(), executor=ThreadExecutor(workers), receipts_home=receipts_home)


class Dfs:
    """One cluster. Paths are absolute; the leading `/` may be missing.

    Safe to use from several threads; a file object that it gives is for one thread. After a fork both processes may go
    on with it; what was half done at the fork (an open writer, a loop over results) is the parent's to finish.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        dialer: Dialer,
        executor: Executor,
        clock: Clock | None = None,
        randomness: random.Random | None = None,
        receipts_home: Path | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """Put the parts together; `connect` is the usual way.

        Args:
            settings: the master's address and the keys.
            dialer: makes all connections.
            executor: runs the transfers; closed with this object.
            clock: time and pauses.
            randomness: request ids and the spread of pauses.
            receipts_home: where receipts are kept for the next try; None keeps nothing.
            connect_seconds: how long a first connection is tried.
            retry_seconds: how long an operation waits for a master that went away.
        """
        self._settings = settings
        self._dialer = dialer
        self._executor = executor
        self._clock = clock or SystemClock()
        self._random = randomness or random.SystemRandom()
        self._receipts_home = receipts_home
        self._connect_seconds = connect_seconds
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._pools: list[ChannelPool] = []
        self._engine: Engine | None = None
        self._admin: MasterClient | None = None
        user_dialer = RoleFinder(dialer) if settings.key_given else dialer
        self._master = self._master_client(self._new_pool(user_dialer, Role.CLIENT, settings.key))
        forks.register(self)

    def after_fork(self) -> None:
        """In a child: nobody holds the lock. What the parts share they put aside themselves."""
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def master_address(self) -> str:
        """The master's `host:port`."""
        return self._settings.master

    def close(self) -> None:
        """End the workers and close all connections. May be called twice."""
        self._executor.close()
        for pool in self._pools:
            pool.close()

    # -- content -----------------------------------------------------------------------------------------------

    def upload(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        path: str,
        *,
        clobber: bool = True,
        progress: Progress | None = None,
    ) -> Uploaded:
        """Store a local file, or what a file object gives until its end, as `path`; missing directories are made.

        An existing file is replaced in one step. An upload that was interrupted and is started again sends only what
        is missing.

        Raises:
            AlreadyExistsError: `path` exists and `clobber` is false.
            SourceChangedError: the local file changed meanwhile; nothing was stored.
            TooFewNodesError: fewer live nodes than copies wanted; nothing was stored.
            DfsError: anything else that went wrong; nothing is visible.
        """
        from dfs_client.upload import upload_file, upload_stream

        target = canonical(path)
        if isinstance(source, _LOCAL):
            return upload_file(self._parts(), source, target, clobber=clobber, progress=progress)
        return upload_stream(self._parts(), source, target, clobber=clobber, progress=progress)

    def upload_many(
        self, files: Iterable[tuple[LocalPath, str]], *, clobber: bool = True, progress: Progress | None = None
    ) -> Iterator[UploadResult]:
        """Store many local files; gives a result for each, and goes on past those that fail.

        Small files are planned and committed together, so this is much faster than a loop over `upload`. Take all
        results: the work is done while they are asked for.
        """
        from dfs_client.upload_many import upload_many

        return upload_many(self._parts(), files, clobber=clobber, progress=progress)

    def download(
        self,
        path: str,
        target: str | os.PathLike[str] | BinaryIO,
        *,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Downloaded:
        """Read a file to a local name (exactly this one), or into a file object, in order.

        A local file appears whole, verified, with the stored mode and time, or not at all.

        Raises:
            NotFoundError: there is no such file.
            AlreadyExistsError: `target` exists and `force` is false.
            CorruptError: every copy of some chunk is bad.
            DfsError: anything else that went wrong.
        """
        from dfs_client.download import download_file, download_stream

        source = canonical(path)
        if isinstance(target, _LOCAL):
            executor = self._executor
            return download_file(self._parts(), source, target, force=force, progress=progress, executor=executor)
        return download_stream(self._parts(), source, target, progress=progress)

    def download_many(
        self, files: Iterable[tuple[Entry, LocalPath]], *, force: bool = False, progress: Progress | None = None
    ) -> Iterator[DownloadResult]:
        """Read many files to local names; gives a result for each, in order, and goes on past those that fail.

        The local directories must exist. Take all results: the work is done while they are asked for.
        """
        from dfs_client.download_many import download_many

        return download_many(self._parts(), files, force=force, progress=progress)

    @overload
    def open(self, path: str, mode: Literal["rb"] = "rb") -> io.BufferedReader: ...

    @overload
    def open(
        self, path: str, mode: Literal["wb"], *, clobber: bool = True, progress: Progress | None = None
    ) -> "RemoteWriter": ...

    def open(
        self, path: str, mode: str = "rb", *, clobber: bool = True, progress: Progress | None = None
    ) -> "io.BufferedReader | RemoteWriter":
        """A file object: `"rb"` reads and seeks, `"wb"` writes a new version.

        A reader stays with the version that it opened. A writer commits in `close`; a `with` block that ends with an
        exception leaves nothing.

            with dfs.open("/numbers.csv", "wb") as file:
                file.write(b"1,2,3")

        Raises:
            NotFoundError: there is no such file to read.
            AlreadyExistsError: there is one to write, and `clobber` is false.
            UsageError: another mode.
        """
        from dfs_client.reader import open_reader
        from dfs_client.writer import RemoteWriter

        if mode == "rb":
            return open_reader(self._parts(), canonical(path))
        if mode == "wb":
            return RemoteWriter(self._parts(), canonical(path), clobber=clobber, progress=progress)
        raise UsageError(f"mode {mode!r} is not known; use 'rb' to read or 'wb' to write a new version")

    # -- tree --------------------------------------------------------------------------------------------------

    def stat(self, path: str, *, chunks: bool = False) -> FileStat:
        """One entry in full; with `chunks` also where its bytes are.

        Raises:
            NotFoundError: it does not exist.
        """
        return tree.stat_path(self._master, canonical(path), chunks=chunks)

    def stat_many(self, paths: Sequence[str]) -> Iterator[Entry | DfsError]:
        """The entry at each path, or the error that `stat` would raise, in order; a thousand in one round trip."""
        return tree.stat_many(self._master, [canonical(path) for path in paths])

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name."""
        return tree.exists(self._master, canonical(path))

    def list(self, path: str = "/", *, copies: bool = False) -> Iterator[Entry]:
        """The entries of a directory by name; a file lists itself. With `copies`, also who holds each file.

        Raises:
            NotFoundError: it does not exist.
        """
        return tree.list_directory(self._master, canonical(path), copies=copies)

    def walk(self, path: str = "/", *, copies: bool = False) -> Iterator[Entry]:
        """All entries below a directory, parents before what is in them.

        Raises:
            NotFoundError: it does not exist.
        """
        return tree.walk(self._master, canonical(path), copies=copies, executor=self._executor)

    def make_directory(self, path: str, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a directory, as `pathlib.Path.mkdir` does.

        Raises:
            NotFoundError: its parent does not exist, and `parents` is false.
            AlreadyExistsError: it exists, and `exist_ok` is false.
        """
        mtime_ns = self._clock.wall_ms() * 1_000_000
        tree.make_directory(self._master, canonical(path), parents=parents, exist_ok=exist_ok, mtime_ns=mtime_ns)

    def make_directories(self, specs: Sequence[DirectorySpec]) -> None:
        """Make directories, with their parents, in few round trips; existing ones take the mode and time given.

        Raises:
            DfsError: the first error; directories made before it stay.
        """
        tree.make_directories(self._master, specs, exist_ok=True)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file, or a directory.

        Raises:
            NotFoundError: it does not exist.
            NotEmptyError: a directory holds something, and `recursive` is false.
        """
        self._master.remove(canonical(path), recursive=recursive)

    def remove_many(self, paths: Sequence[str], *, recursive: bool = False) -> Iterator[tuple[str, DfsError | None]]:
        """Remove names, none of which may lie below another; gives each with its error, in order, and goes on.

        Take all results: the work is done while they are asked for.
        """
        return tree.remove_many(self._master, paths, recursive=recursive, executor=self._executor)

    def rename(self, source: str, target: str, *, clobber: bool = True) -> None:
        """Give a file or a whole tree another name, in one step.

        Raises:
            NotFoundError: `source` does not exist.
            AlreadyExistsError: `target` exists, and `clobber` is false.
            ConflictError: a directory would move into itself, or replace what it cannot replace.
        """
        expect = EXPECT_ANY if clobber else EXPECT_ABSENT
        self._master.rename(canonical(source), canonical(target), expect=expect)

    def set_policy(self, path: str, copies: int) -> None:
        """Set how many copies files below a directory have from now on; 0 takes the policy of its parent again."""
        self._master.set_policy(canonical(path), copies)

    def disk_usage(self, path: str = "/") -> UsageRows:
        """Files, directories and bytes below a path, the path itself first, then its direct children by name."""
        return self._master.disk_usage(canonical(path))

    # -- cluster -----------------------------------------------------------------------------------------------

    def space(self) -> SpaceReply:
        """Free and used space of the cluster, in bytes."""
        return self._master.space()

    def status(self) -> ClusterStatus:
        """The cluster's health in numbers, and its nodes.

        Raises:
            NotAllowedError: the profile has no admin key.
        """
        return self.admin.status()

    @property
    def admin(self) -> Admin:
        """What operators ask and order; needs the admin key."""
        return Admin(self._as_admin)

    # -- parts -------------------------------------------------------------------------------------------------

    @contextmanager
    def _as_admin(self) -> Iterator[MasterClient]:
        """A connection with the admin key, made when first needed.

        Raises:
            NotAllowedError: there is no such key, or the master does not know it.
        """
        settings = self._settings
        key = settings.key if settings.admin_key is None and settings.key_given else settings.admin_key
        if key is None:
            raise NotAllowedError(ADMIN_ONLY)
        with self._lock:
            if self._admin is None:
                self._admin = self._master_client(self._new_pool(self._dialer, Role.ADMIN, key))
        with admin_refusals():
            yield self._admin

    def _master_client(self, pool: ChannelPool) -> MasterClient:
        return MasterClient(
            self._settings.master,
            pool,
            self._clock,
            self._random,
            connect_seconds=self._connect_seconds,
            retry_seconds=self._retry_seconds,
        )

    def _new_pool(self, dialer: Dialer, role: Role, key: bytes = b"") -> ChannelPool:
        hello = Hello(role=role, credential=key, address_set=self._settings.address_set, software=SOFTWARE)
        pool = ChannelPool(dialer, lambda _: hello)
        self._pools.append(pool)
        return pool

    def _parts(self) -> "Engine":
        """What moves bytes, made when the first bytes move."""
        engine = self._engine
        if engine is not None:
            return engine
        with self._lock:
            if self._engine is None:
                from dfs_client.engine import make_engine

                self._engine = make_engine(
                    self._master,
                    self._new_pool(self._dialer, Role.TICKET),
                    self._executor,
                    self._clock,
                    self._random,
                    self._receipts_home,
                )
            return self._engine


def canonical(path: str) -> str:
    """The path as the master knows it: absolute, without a trailing or doubled slash.

    Raises:
        UsageError: it cannot be a path.
    """
    return join_path(split_path(path))
