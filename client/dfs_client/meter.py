"""Progress of one file."""

from dfs_client.types import Progress, ProgressEvent, ProgressKind


class Meter:
    """Turns bytes into progress events. Used by one thread."""

    def __init__(self, progress: Progress | None, path: str, total: int) -> None:
        self._progress = progress
        self._path = path
        self._total = total
        self._done = 0
        self.tell("start")

    def tell(self, kind: ProgressKind) -> None:
        """An event with the bytes so far."""
        if self._progress is not None:
            self._progress(ProgressEvent(kind, self._path, self._done, self._total))

    def add(self, count: int) -> None:
        """So many more bytes are stored."""
        self._done += count
        self.tell("bytes")
