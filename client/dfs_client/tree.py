"""The tree of names: everything that moves no content."""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from dfs_client.executors import Executor
from dfs_client.master import MasterClient, outcome_error
from dfs_client.types import FileStat
from dfs_wire.errors import DfsError, NotFoundError, error_from_wire
from dfs_wire.limits import BATCH_PATHS_MAX
from dfs_wire.messages import DirectorySpec, Entry, EntryKind

if TYPE_CHECKING:
    from concurrent.futures import Future

#: Directories in one request: their paths may be 4 KiB each, and a list has at most 8 MiB.
DIRECTORIES_PER_REQUEST = 1_000

DIRECTORY_MODE = 0o755


def stat_path(master: MasterClient, path: str, *, chunks: bool) -> FileStat:
    """One entry in full."""
    reply, infos = master.stat(path, chunks=chunks)
    return FileStat(reply.entry, reply.copies_wanted, reply.policy_from, infos)


def exists(master: MasterClient, path: str) -> bool:
    """Whether the path names a file or directory."""
    try:
        master.stat(path)
    except NotFoundError:
        return False
    return True


def list_directory(master: MasterClient, path: str, *, copies: bool) -> Iterator[Entry]:
    """The entries of a directory by name, page by page; a file lists itself."""
    after = ""
    more = True
    while more:
        entries, more = master.list_page(path, after=after, copies=copies)
        yield from entries
        if not entries:
            return
        after = entries[-1].path.rpartition("/")[2]


def walk(master: MasterClient, path: str, *, copies: bool, executor: Executor) -> Iterator[Entry]:
    """All entries below a directory, parents first; a file lists itself.

    One round trip brings a page, however many directories it spans, and the next page is fetched while one is used.
    """
    prefix = path.rstrip("/") + "/"

    def fetch(after: str) -> tuple[list[Entry], bool]:
        return master.list_page(path, after=after, copies=copies, recursive=True)

    entries, more = fetch("")
    while more and entries:
        following = executor.submit(partial(fetch, entries[-1].path.removeprefix(prefix)))
        yield from entries
        entries, more = following.result()
    yield from entries


def stat_many(master: MasterClient, paths: Sequence[str]) -> Iterator[Entry | DfsError]:
    """What each path names, or why there is nothing to say of it, in order."""
    for start in range(0, len(paths), BATCH_PATHS_MAX):
        for found in master.stat_many(paths[start : start + BATCH_PATHS_MAX]):
            yield found.entry or error_from_wire(found.code, found.message, {})


def remove_many(
    master: MasterClient, paths: Sequence[str], *, recursive: bool, executor: Executor
) -> Iterator[tuple[str, DfsError | None]]:
    """Remove names side by side, so that they share the master's commits; each with its error, in order."""
    ahead: deque[tuple[str, Future[None]]] = deque()
    for path in paths:
        if len(ahead) >= 2 * executor.width:
            yield _removed(*ahead.popleft())
        ahead.append((path, executor.submit(partial(master.remove, path, recursive=recursive))))
    while ahead:
        yield _removed(*ahead.popleft())


def _removed(path: str, task: "Future[None]") -> tuple[str, DfsError | None]:
    try:
        task.result()
    except DfsError as error:
        return path, error
    return path, None


def make_directory(master: MasterClient, path: str, *, parents: bool, exist_ok: bool, mtime_ns: int) -> None:
    """Make one directory.

    Raises:
        NotFoundError: its parent does not exist, and `parents` is false.
        AlreadyExistsError: it exists, and `exist_ok` is false.
    """
    parent = path.rpartition("/")[0]
    if not parents and parent:
        # The master makes parents as well, so whether they exist is asked before. Two clients may race here; the
        # outcome is then a directory more, never a lost one.
        master.stat(parent)
    if exist_ok and _is_directory(master, path):
        # The request would give an existing directory this mode and time.
        return
    make_directories(master, [DirectorySpec(path, DIRECTORY_MODE, mtime_ns)], exist_ok=exist_ok)


def _is_directory(master: MasterClient, path: str) -> bool:
    try:
        return master.stat(path)[0].entry.kind is EntryKind.DIRECTORY
    except NotFoundError:
        return False


def make_directories(master: MasterClient, specs: Sequence[DirectorySpec], *, exist_ok: bool) -> None:
    """Make directories with their parents; the first that fails is raised, those before it stay.

    Raises:
        DfsError: the first error.
    """
    for start in range(0, len(specs), DIRECTORIES_PER_REQUEST):
        for outcome in master.make_directories(specs[start : start + DIRECTORIES_PER_REQUEST], exist_ok=exist_ok):
            error = outcome_error(outcome)
            if error is not None:
                raise error
