"""Follow the logs of several containers at once, each over its restarts."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from dfs_deploy.engine import LogLine
from dfs_runtime.clock import Clock
from dfs_wire.errors import DfsError

_PAUSE_SECONDS = 1.0
#: A reader that is slower than the roles write holds them up in the engine, not in our memory.
_LINES_MAX = 10_000

#: `(container, since in seconds of 1970) -> pieces`, until the container stops.
FollowLog = Callable[[str, int], Iterable[bytes]]


def follow_containers(follow: FollowLog, names: Mapping[str, str], since: int, clock: Clock) -> Iterator[LogLine]:
    """Lines as they are written, of containers by role, without end; the engine's end ends it too.

    Raises:
        DfsError: the engine does not answer any more.
    """
    found: queue.Queue[LogLine | DfsError] = queue.Queue(_LINES_MAX)

    def read(role: str, container: str) -> None:
        start = since
        try:
            while True:
                for text in lines_of(follow(container, start)):
                    found.put(LogLine(role, text))
                start = int(clock.wall_ms() / 1_000)
                clock.sleep(_PAUSE_SECONDS)
        except DfsError as error:
            found.put(error)

    for role, container in names.items():
        threading.Thread(target=read, args=(role, container), name=f"follow-{role}", daemon=True).start()
    while True:
        got = found.get()
        if isinstance(got, DfsError):
            raise got
        yield got


def lines_of(pieces: Iterable[bytes]) -> Iterator[str]:
    """Whole lines of a stream that comes in any pieces; the last one may lack its end."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
    if rest:
        yield rest.decode("utf-8", "replace")
