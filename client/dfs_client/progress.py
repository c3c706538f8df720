"""The progress bar: on a terminal only, and only then is rich loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dfs_client.output import Output

if TYPE_CHECKING:
    from dfs_client.types import Progress, ProgressEvent


class Tally:
    """Adds the events of many files up. Used from one thread, the one that called the library."""

    def __init__(self, bytes_total: int | None, files_total: int) -> None:
        self._expected = bytes_total
        self._totals_seen = 0
        self._finished_bytes = 0
        self._running: dict[str, int] = {}
        self.files_done = 0
        self.files_total = files_total

    @property
    def bytes_done(self) -> int:
        """Bytes of all files so far, those that needed no transfer included."""
        return self._finished_bytes + sum(self._running.values())

    @property
    def bytes_total(self) -> int | None:
        """Bytes to come in all, None where a source does not tell its size."""
        return self._expected if self._expected is not None else (self._totals_seen or None)

    def observe(self, event: "ProgressEvent") -> None:
        """Take one event of one file into account."""
        if event.kind == "start":
            self._totals_seen += max(0, event.bytes_total)
            self._running[event.path] = event.bytes_done
        elif event.kind == "bytes":
            self._running[event.path] = event.bytes_done
        else:
            self._running.pop(event.path, None)
            self._finished_bytes += max(event.bytes_done, event.bytes_total, 0)
            self.files_done += 1


@contextmanager
def progress_bar(
    output: Output, label: str, *, files: int, bytes_total: int | None = None
) -> Iterator["Progress | None"]:
    """A bar with speed and time left on standard error while the block runs; None where nobody would see it."""
    if not output.err_on_terminal:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    tally = Tally(bytes_total, files)
    with RichProgress(*columns, console=Console(file=output.err), transient=True) as bar:
        task = bar.add_task(label, total=bytes_total)

        def show(event: "ProgressEvent") -> None:
            tally.observe(event)
            counted = label if files == 1 else f"{label} {tally.files_done}/{tally.files_total}"
            bar.update(task, completed=tally.bytes_done, total=tally.bytes_total, description=counted)

        yield show
