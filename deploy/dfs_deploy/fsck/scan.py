"""Lists what a volume holds, a JSON object a line: `python -m dfs_deploy.fsck.scan VOLUME [--data]`.

It runs where the volume is: on this host, or in a container over a named volume. The first line is the identity, the
last one the number of copies, so that a scan that was cut off cannot pass for a whole one.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from dfs_deploy.fsck.volume_files import FoundCopy, copies, read_identity
from dfs_wire.errors import CorruptError, DfsError, UsageError


class ScanHead(msgspec.Struct, frozen=True):
    """The first line."""

    cluster_id: str
    node_id: int


class ScanEnd(msgspec.Struct, frozen=True):
    """The last line."""

    copies: int


_head = msgspec.json.Decoder(ScanHead)
_copy = msgspec.json.Decoder(FoundCopy)
_end = msgspec.json.Decoder(ScanEnd)


def lines(volume: Path, *, read_data: bool) -> Iterator[bytes]:
    """The whole output.

    Raises:
        VolumeForeignError: no volume is there.
    """
    identity = read_identity(volume)
    yield msgspec.json.encode(ScanHead(identity.cluster_id, identity.node_id)) + b"\n"
    count = 0
    for found in copies(volume, read_data=read_data):
        yield msgspec.json.encode(found) + b"\n"
        count += 1
    yield msgspec.json.encode(ScanEnd(count)) + b"\n"


def parse(text: Iterator[bytes]) -> tuple[ScanHead, Iterator[FoundCopy]]:
    """Read the output again; the copies come as they are asked for.

    Raises:
        CorruptError: it is not a whole output of this program.
    """
    try:
        head = _head.decode(next(text, b""))
    except msgspec.DecodeError as error:
        raise CorruptError("a volume could not be scanned: the scan wrote something else") from error
    return head, _copies(text)


def _copies(text: Iterator[bytes]) -> Iterator[FoundCopy]:
    count = 0
    before: bytes | None = None
    for line in text:
        if before is not None:
            yield _copy.decode(before)
            count += 1
        before = line
    try:
        whole = before is not None and _end.decode(before).copies == count
    except msgspec.DecodeError:
        whole = False
    if not whole:
        raise CorruptError("the scan of a volume was cut off; run it again")


def main(arguments: Sequence[str]) -> int:
    """Scan one volume onto standard output; the exit code."""
    try:
        match list(arguments):
            case [volume]:
                read_data = False
            case [volume, "--data"]:
                read_data = True
            case _:
                raise UsageError("usage: python -m dfs_deploy.fsck.scan VOLUME [--data]")
        for line in lines(Path(volume), read_data=read_data):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except DfsError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
