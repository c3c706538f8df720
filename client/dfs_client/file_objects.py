"""File objects of somebody else, which may take or give less than all, or say that nothing goes now.

Whether a pipe is non-blocking belongs to the open file, not to its descriptor: another process that holds the other
copy of standard input or output may have set it. So "not now" is neither an end nor a success: it is waited for.
"""

import io
import select
from typing import BinaryIO

from dfs_wire.errors import UsageError

#: A raw file object says None for "not now"; one with a buffer may raise `BlockingIOError` when it writes.
FileObject = BinaryIO | io.RawIOBase


def read_some(stream: FileObject, buffer: memoryview) -> int:
    """Read from a file object, which may give less than asked for; 0 means its end.

    Raises:
        UsageError: it has nothing now, and no descriptor to wait for.
    """
    # Not every file object has `readinto`.
    readinto = getattr(stream, "readinto", None)
    if readinto is not None:
        while (count := readinto(buffer)) is None:
            _wait(stream, select.POLLIN)
        return int(count)
    while (data := stream.read(len(buffer))) is None:
        _wait(stream, select.POLLIN)
    buffer[: len(data)] = data
    return len(data)


def write_all(target: FileObject, data: memoryview) -> None:
    """Write all of `data` to a file object, which may take less than it was given.

    Raises:
        UsageError: it takes nothing now, and has no descriptor to wait for.
    """
    while data:
        try:
            written = target.write(data)
        except BlockingIOError as error:
            # What went into its buffer counts as written.
            data = data[error.characters_written :]
            written = None
        if written is None:
            _wait(target, select.POLLOUT)
        else:
            data = data[written:]


def flush_all(target: FileObject) -> None:
    """Hand over what a file object has in its buffer.

    Raises:
        UsageError: as `write_all`.
    """
    while True:
        try:
            target.flush()
        except BlockingIOError:
            _wait(target, select.POLLOUT)
        else:
            return


def _wait(stream: FileObject, event: int) -> None:
    """Until it is ready, or broken: then the next call tells.

    Raises:
        UsageError: nobody can know when.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, AttributeError):
        raise UsageError(
            "the file object is non-blocking and has no descriptor to wait for; give one that waits"
        ) from None
    ready = select.poll()
    ready.register(descriptor, event)
    ready.poll()
