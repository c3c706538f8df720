"""What became of many items: each is reported, a failed one stops nothing, and the end says how many failed."""

from collections import Counter
from collections.abc import Callable
from typing import ClassVar

from dfs_client.display import human_bytes, visible
from dfs_client.output import Output, error_object
from dfs_runtime.words import plural
from dfs_wire.errors import DfsError, InternalError


class SomeFailedError(DfsError):
    """A command over several items did what it could; the items that failed were listed."""

    code: ClassVar[str] = "some_failed"


class Batch:
    """Collects outcomes. With `alone`, the one item is the whole command: its error is the command's own.

    Used from one thread.
    """

    def __init__(self, output: Output, noun: str, *, alone: bool = False) -> None:
        self._output = output
        self._noun = noun
        self.alone = alone
        self._failures: list[tuple[str, DfsError]] = []
        self._skipped: Counter[str] = Counter()
        self.done = 0
        self.bytes_done = 0

    @property
    def failed(self) -> bool:
        """Whether anything failed so far."""
        return bool(self._failures)

    def add_done(self, record: dict[str, object] | Callable[[], dict[str, object]], size: int = 0) -> None:
        """An item is done; `size` in bytes. A record that costs something to make is given as what makes it."""
        self.done += 1
        self.bytes_done += size
        if self._output.json:
            self._output.record(record() if callable(record) else record)

    def add_failed(self, what: str, error: DfsError, record: dict[str, object]) -> None:
        """An item failed; it is listed by `finish`."""
        self._failures.append((what, error))
        if self._output.json and not self.alone:
            self._output.record({**record, "status": "failed", "error": error_object(error)})

    def add_skipped(self, kind: str, record: dict[str, object]) -> None:
        """An item cannot be stored and that is no failure; `kind` is a word for people, counted by `finish`."""
        self._skipped[kind] += 1
        if self._output.json:
            self._output.record({**record, "status": "skipped", "reason": kind})

    def summarize(self, verb: str, target: str) -> None:
        """One line about what is done, where that says anything and JSON has not said it."""
        if not self._output.json and (self.done or not self._failures):
            counted = f"{plural(self.done, self._noun)}, {human_bytes(self.bytes_done)}"
            self._output.line(f"{verb} {counted}, to {visible(target)}")

    def finish(self) -> None:
        """Warn of what was skipped and list what failed.

        Raises:
            SomeFailedError: at least one of several items failed (exit code 1).
            DfsError: the only item failed; its own error.
        """
        if self._skipped:
            counts = ", ".join(plural(count, kind) for kind, count in sorted(self._skipped.items()))
            self._output.note(f"warning: skipped {counts}")
        if not self._failures:
            return
        if self.alone and len(self._failures) == 1:
            raise self._failures[0][1]
        for what, error in self._failures:
            # Most sentences begin with the name already.
            named = error.message.startswith(f"{what} ")
            self._output.note(visible(error.message if named else f"{what}: {error.message}"))
        total = self.done + len(self._failures)
        raise SomeFailedError(f"{len(self._failures)} of {plural(total, self._noun)} failed and are listed above")


def needed_error(error: DfsError | None) -> DfsError:
    """The error of a result that is not ok."""
    return error or InternalError("the library reported a failure without its error; please report this")
