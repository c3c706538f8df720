"""`dfs-client download`: files and trees of the store to this machine."""

import os
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from dfs_client.batch import Batch, needed_error
from dfs_client.destinations import STANDARD_STREAM, Source, destination, place, source, split_arguments, unusable
from dfs_client.local_errors import from_os_error
from dfs_client.local_tree import special_kind
from dfs_client.options import REMOTE_PATH, ClientCommand
from dfs_client.progress import progress_bar
from dfs_client.remote_paths import join
from dfs_client.remote_tree import entries_below
from dfs_client.session import Session
from dfs_client.types import Downloaded, LocalPath
from dfs_wire.errors import DfsError, UsageError
from dfs_wire.messages import Entry, EntryKind


class _Work(msgspec.Struct):
    """What is to be fetched: files and directories with their local paths, parents first; sizes in bytes."""

    files: list[tuple[Entry, LocalPath]] = []
    directories: list[tuple[Entry, Path]] = []
    size: int = 0


@click.command(
    cls=ClientCommand,
    short_help="Fetch files or whole directories.",
    examples=(
        ("dfs-client download /big.bin", "makes ./big.bin"),
        ("dfs-client download -r /backup/photos /tmp", "makes /tmp/photos"),
        ("dfs-client download /dumps/shop.sql - | psql shop", ""),
    ),
    json_fields=(
        "One object a file: path, target, status (downloaded, failed), size, version, digest;",
        "failed has error: {code, message}.",
    ),
)
@click.argument("arguments", metavar="SRC... [DEST]", nargs=-1, required=True, type=REMOTE_PATH)
@click.option("-r", "--recursive", is_flag=True, help="Download directories with all they hold.")
@click.option("-f", "--force", is_flag=True, help="Replace local files that exist.")
@click.pass_obj
def download(session: Session, arguments: tuple[str, ...], recursive: bool, force: bool) -> None:
    """Fetch files, or with -r whole directories, to this machine. Every byte is verified.

    With one argument the destination is the current directory. With more, the last argument is the destination:
    a directory that exists, or a path that ends with /, takes each source under its own name; any other path is
    the new name. DEST may be - for standard output. The leading / of a remote path may be left out.

    A local file that exists is refused (exit code 4) without --force. A file appears under its name only when it
    is complete; times, permission bits, empty files and empty directories are given back.
    """
    texts, target_text = split_arguments(arguments, ".")
    if target_text == STANDARD_STREAM:
        _download_to_output(session, texts)
        return
    if STANDARD_STREAM in texts:
        raise UsageError("- is standard output and can only be the last argument; write /- for a file of that name")
    batch = Batch(session.output, "file", alone=len(texts) == 1)
    found = [_look_up(session, text, recursive, batch) for text in texts]
    if found[0] is not None and batch.alone and _is_special(target_text):
        with open(target_text, "wb") as stream:
            session.dfs.download(found[0][1].path, stream)
        return
    target = destination(target_text, _local_text(target_text), _local_kind(target_text))
    sources = [unusable(text) if each is None else each[0] for text, each in zip(texts, found, strict=True)]
    placed = place(sources, target)
    work = _Work()
    for each, path in zip(found, placed, strict=True):
        if each is not None:
            _collect(session, each[0], each[1], Path(path), work)
    batch.alone = len(texts) == 1 and sources[0].kind is EntryKind.FILE
    if target.slash:
        _make_directory(Path(target.path))
    _download_files(session, work, batch, force=force)
    batch.summarize("downloaded", placed[0] if len(placed) == 1 else target.path)
    batch.finish()


def _look_up(session: Session, text: str, recursive: bool, batch: Batch) -> tuple[Source, Entry] | None:
    """Look at one source. One that cannot be used is an error when it is the only one, else it is listed."""
    path = session.remote(text)
    try:
        entry = session.dfs.stat(path).entry
    except DfsError as error:
        if batch.alone:
            raise
        batch.add_failed(text, error, {"path": path})
        return None
    if entry.kind is EntryKind.DIRECTORY and not recursive:
        raise UsageError(f"{path} is a directory; add -r to download it with all it holds")
    return source(text, entry.kind, path), entry


def _local_text(text: str) -> str:
    """The local destination without slashes at its end, which only say that it is a directory."""
    if not text:
        raise UsageError("the local destination is empty; write . for the current directory")
    return text.rstrip("/") or "/"


def _local_kind(text: str) -> EntryKind | None:
    try:
        return EntryKind.DIRECTORY if Path(text).is_dir() else EntryKind.FILE if os.path.lexists(text) else None
    except OSError as error:
        raise from_os_error(error) from error


def _is_special(text: str) -> bool:
    """Whether the destination is a device or pipe: bytes are written into it, it is never replaced."""
    with suppress(OSError):
        return special_kind(Path(text).stat().st_mode) is not None
    return False


def _collect(session: Session, each: Source, entry: Entry, path: Path, work: _Work) -> None:
    """Say where a source and all below it go."""
    if entry.kind is EntryKind.FILE:
        work.files.append((entry, path))
        work.size += entry.size
        return
    merged = each.name == "" and path.is_dir()
    if not merged:
        work.directories.append((entry, path))
    top = str(path)
    for relative, child in entries_below(session.dfs, entry.path):
        local = join(top, relative)
        if child.kind is EntryKind.DIRECTORY:
            work.directories.append((child, Path(local)))
        else:
            work.files.append((child, local))
            work.size += child.size


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_os_error(error) from error


def _download_files(session: Session, work: _Work, batch: Batch, *, force: bool) -> None:
    """Make the directories, fetch the files, and only then set what the directories keep: time and mode."""
    made: list[tuple[Entry, Path]] = []
    for entry, path in work.directories:
        try:
            _make_directory(path)
            made.append((entry, path))
        except DfsError as error:
            batch.add_failed(str(path), error, {"path": entry.path, "target": str(path)})
    with progress_bar(session.output, "downloading", files=len(work.files), bytes_total=work.size) as progress:
        if batch.alone:
            entry, local = work.files[0]
            _add(batch, local, session.dfs.download(entry.path, local, force=force, progress=progress))
        elif work.files:
            for result in session.dfs.download_many(work.files, force=force, progress=progress):
                if result.downloaded is not None:
                    _add(batch, result.target, result.downloaded)
                else:
                    record: dict[str, object] = {"path": result.path, "target": str(result.target)}
                    batch.add_failed(result.path, needed_error(result.error), record)
    for entry, path in reversed(made):
        _keep_attributes(entry, path, batch)


def _keep_attributes(entry: Entry, path: Path, batch: Batch) -> None:
    try:
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
        path.chmod(entry.mode & 0o7777)
    except OSError as error:
        batch.add_failed(str(path), from_os_error(error), {"path": entry.path, "target": str(path)})


def _download_to_output(session: Session, texts: list[str]) -> None:
    if len(texts) != 1:
        raise UsageError("only one file can go to standard output; use 'dfs-client cat' for several")
    stream = session.output.binary()
    session.dfs.download(session.remote(texts[0]), stream)
    stream.flush()


def _add(batch: Batch, path: LocalPath, fetched: Downloaded) -> None:
    def record() -> dict[str, object]:
        return {
            "path": fetched.path,
            "target": str(path),
            "status": "downloaded",
            "size": fetched.size,
            "version": fetched.version,
            "digest": fetched.digest.hex(),
        }

    batch.add_done(record, fetched.size)
