"""`dfs-client upload`: local files and trees into the store."""

import stat
from pathlib import Path

import click
import msgspec

from dfs_client.batch import Batch, needed_error
from dfs_client.destinations import (
    STANDARD_STREAM,
    Destination,
    Source,
    destination,
    place,
    source,
    split_arguments,
    standard_input,
    unusable,
)
from dfs_client.display import visible
from dfs_client.local_errors import from_os_error
from dfs_client.local_tree import not_utf8, scan, special_kind
from dfs_client.options import ClientCommand
from dfs_client.progress import progress_bar
from dfs_client.remote_paths import ROOT, is_utf8, join
from dfs_client.remote_tree import make_each, remote_kind
from dfs_client.session import Session
from dfs_client.types import Uploaded
from dfs_wire.errors import DfsError, UsageError
from dfs_wire.messages import DirectorySpec, EntryKind
from dfs_wire.paths import split_path


class _Work(msgspec.Struct):
    """What is to be stored: files with their remote paths, directories parents first, sizes in bytes."""

    files: list[tuple[str, str]] = []
    directories: list[DirectorySpec] = []
    size: int = 0


@click.command(
    cls=ClientCommand,
    short_help="Store local files or whole directories.",
    examples=(
        ("dfs-client upload big.bin", "stores /big.bin"),
        ("dfs-client upload -r photos /backup/", "stores /backup/photos"),
        ("pg_dump shop | dfs-client upload - /dumps/shop.sql", ""),
    ),
    json_fields=(
        "One object a file: source, path, status (uploaded, skipped, failed), size, version, digest, bytes_sent;",
        "skipped has reason, failed has error: {code, message}.",
    ),
)
@click.argument("arguments", metavar="SRC... [DEST]", nargs=-1, required=True, type=click.Path())
@click.option("-r", "--recursive", is_flag=True, help="Upload directories with all they hold.")
@click.option("-n", "--no-clobber", is_flag=True, help="Refuse to replace a file that exists (exit code 4).")
@click.pass_obj
def upload(session: Session, arguments: tuple[str, ...], recursive: bool, no_clobber: bool) -> None:
    """Store local files, or with -r whole directories. Returns when all copies are durable.

    With one argument the destination is /. With more, the last argument is the destination: a directory that
    exists, or a path that ends with /, takes each source under its own name; any other path is the new name.
    Parent directories are made. An existing file is replaced at once, or not at all.

    SRC may be - for standard input; DEST is then the whole name. Times, permission bits, empty files and empty
    directories are kept. Symbolic links inside a directory, sockets, pipes and devices are skipped with a warning.
    An upload that was interrupted sends only what is missing when it is started again.
    """
    texts, target_text = split_arguments(arguments, session.directory)
    path = session.remote(target_text)
    batch = Batch(session.output, "file", alone=len(texts) == 1)
    sources = [_source(text, recursive, batch) for text in texts]
    target = destination(target_text, path, remote_kind(session.dfs, path))
    placed = place([each or unusable(text) for each, text in zip(sources, texts, strict=True)], target)
    if texts == [STANDARD_STREAM]:
        _upload_input(session, placed[0], batch, clobber=not no_clobber)
    else:
        wanted = [(each, path) for each, path in zip(sources, placed, strict=True) if each is not None]
        batch.alone = len(texts) == 1 and wanted[0][0].kind is EntryKind.FILE
        _upload_files(session, _collect(wanted, target, batch), batch, clobber=not no_clobber)
    batch.summarize("uploaded", placed[0] if len(placed) == 1 else target.path)
    batch.finish()


def _source(text: str, recursive: bool, batch: Batch) -> Source | None:
    """Look at one source. One that cannot be used is an error when it is the only one, else it is listed."""
    if text == STANDARD_STREAM:
        if not batch.alone:
            raise UsageError("standard input (-) cannot be combined with other sources; upload it on its own")
        return standard_input()
    try:
        return source(text, _local_kind(text, recursive))
    except UsageError:
        raise
    except DfsError as error:
        if batch.alone:
            raise
        batch.add_failed(text, error, {"source": text})
        return None


def _local_kind(text: str, recursive: bool) -> EntryKind:
    if not is_utf8(text):
        raise UsageError(f"{visible(text)}: {not_utf8().message}")
    if not text:
        # Path("") is the current directory, which nobody means with a variable that is not set.
        raise UsageError("the name of a local file is empty; write . for the current directory")
    try:
        mode = Path(text).stat().st_mode
    except OSError as error:
        raise from_os_error(error) from error
    if stat.S_ISDIR(mode):
        if not recursive:
            raise UsageError(f"{text} is a directory; add -r to upload it with all it holds")
        return EntryKind.DIRECTORY
    what = special_kind(mode)
    if what is not None:
        raise UsageError(f"{text} is a {what}, not a file; use - to upload from standard input")
    return EntryKind.FILE


def _collect(wanted: list[tuple[Source, str]], target: Destination, batch: Batch) -> _Work:
    """Walk the sources and say where each file and directory goes."""
    work = _Work()
    for each, path in wanted:
        if each.kind is EntryKind.FILE:
            work.files.append((each.text, path))
            work.size += Path(each.text).stat().st_size
            continue
        tree = scan(Path(each.text))
        for item in tree.files:
            goes_to = join(path, item.relative)
            if _storable(item.path, goes_to, batch):
                work.files.append((item.path, goes_to))
                work.size += item.size
        for item in tree.directories:
            goes_to = join(path, item.relative)
            merged = not item.relative and each.name == "" and target.kind is EntryKind.DIRECTORY
            if goes_to != ROOT and not merged and _storable(item.path, goes_to, batch):
                work.directories.append(DirectorySpec(goes_to, item.mode, item.mtime_ns))
        for skipped in tree.skipped:
            batch.add_skipped(skipped.what, {"source": str(skipped.path)})
        for refused in tree.refused:
            batch.add_failed(str(refused.path), refused.error, {"source": str(refused.path)})
    return work


def _storable(local: str, path: str, batch: Batch) -> bool:
    """Whether the store takes this path; where not, the file is listed as failed."""
    try:
        split_path(path)
    except DfsError as error:
        batch.add_failed(local, error, {"source": local, "path": path})
        return False
    return True


def _upload_files(session: Session, work: _Work, batch: Batch, *, clobber: bool) -> None:
    """Send the files, then make the directories: their times are set when nothing changes in them any more."""
    dfs = session.dfs
    with progress_bar(session.output, "uploading", files=len(work.files), bytes_total=work.size) as progress:
        if batch.alone:
            local, path = work.files[0]
            _add(batch, local, dfs.upload(local, path, clobber=clobber, progress=progress))
        elif work.files:
            for result in dfs.upload_many(work.files, clobber=clobber, progress=progress):
                local_text = str(result.source)
                if result.uploaded is not None:
                    _add(batch, local_text, result.uploaded)
                else:
                    batch.add_failed(
                        local_text, needed_error(result.error), {"source": local_text, "path": result.path}
                    )
    for path, error in make_each(dfs, work.directories[::-1]):
        if error is not None:
            batch.add_failed(path, error, {"path": path})


def _upload_input(session: Session, path: str, batch: Batch, *, clobber: bool) -> None:
    with progress_bar(session.output, "uploading", files=1) as progress:
        stored = session.dfs.upload(session.standard_input(), path, clobber=clobber, progress=progress)
    _add(batch, STANDARD_STREAM, stored)


def _add(batch: Batch, local: str, stored: Uploaded) -> None:
    def record() -> dict[str, object]:
        return {
            "source": local,
            "path": stored.path,
            "status": "uploaded",
            "size": stored.size,
            "version": stored.version,
            "digest": stored.digest.hex(),
            "bytes_sent": stored.bytes_sent,
        }

    batch.add_done(record, stored.size)
