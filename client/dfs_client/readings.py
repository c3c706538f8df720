"""Several paths that are only read, as `ls` does it: an error is said at once, the others are shown all the same."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import click

from dfs_client.output import Output
from dfs_wire.errors import DfsError

_T = TypeVar("_T")


class Readings:
    """Reads one path after the other and keeps the first error. Used from one thread."""

    def __init__(self, output: Output, paths: list[str]) -> None:
        self._output = output
        self._paths = paths
        self._first: DfsError | None = None
        self._some_read = False

    def each(self, read: Callable[[str], Iterable[_T]]) -> Iterator[_T]:
        """What `read` gives for each path, in their order.

        Raises:
            DfsError: there is one path only; its own error.
            Exit: no path could be read, so that nothing has to be shown; all errors were said.
        """
        for path in self._paths:
            try:
                yield from read(path)
                self._some_read = True
            except DfsError as error:
                if len(self._paths) == 1:
                    raise
                self._say(error)
        if not self._some_read:
            self.finish()

    def finish(self) -> None:
        """End the command, once all that was read is shown.

        Raises:
            Exit: something failed; the exit code is that of the first error.
        """
        if self._first is not None:
            self._output.flush()
            raise click.exceptions.Exit(self._first.exit_code)

    def _say(self, error: DfsError) -> None:
        self._first = self._first or error
        # Both may go to one place, where an error stands between what was shown before and behind it.
        self._output.flush()
        self._output.error(error)
