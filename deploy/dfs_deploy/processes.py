"""Find, signal and await processes that this program started in an earlier life, never mistaking a reused pid."""

import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_DEAD_STATES = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc shows it. pid and start time together are never used twice between two boots.

    `started_ticks` counts clock ticks since the machine's start.
    """

    pid: int
    started_ticks: int
    arguments: tuple[str, ...]


class ProcessTable:
    """Reads /proc. Holds no state; safe to share between threads."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = root

    def read(self, pid: int) -> Process | None:
        """The process of that number when it lives; a zombie does not."""
        try:
            status = (self._root / str(pid) / "stat").read_text("utf-8", "replace")
            command = (self._root / str(pid) / "cmdline").read_bytes()
        except OSError:
            return None
        # The name stands in brackets and may hold spaces and brackets itself: count from the last one.
        fields = status.rpartition(")")[2].split()
        if not fields or fields[0] in _DEAD_STATES:
            return None
        arguments = tuple(os.fsdecode(part) for part in command.rstrip(b"\0").split(b"\0"))
        return Process(pid, int(fields[19]), arguments)

    def all(self) -> Iterator[Process]:
        """Every living process that can be read."""
        for path in self._root.iterdir():
            if path.name.isdigit() and (found := self.read(int(path.name))) is not None:
                yield found

    def is_same(self, process: Process) -> bool:
        """Whether that very process still lives. Its command line does not count: one that is ending has none."""
        found = self.read(process.pid)
        return found is not None and found.started_ticks == process.started_ticks

    def send(self, process: Process, number: signal.Signals) -> bool:
        """Signal that very process, and no other that got its pid; False when it is gone.

        Raises:
            PermissionError: it belongs to another user.
        """
        try:
            # The descriptor holds on to the process, so nothing can take its pid between the check and the signal.
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.is_same(process):
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def await_end(self, process: Process, seconds: float) -> bool:
        """Wait until that very process ended; False when it still lives after `seconds`."""
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.is_same(process):
                return True
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(seconds * 1_000))
        finally:
            os.close(descriptor)


def is_daemon(process: Process, program: str, option: str, directory: Path) -> bool:
    """Whether a command line is `program ... option directory ...`, serving; the directory in whatever spelling."""
    served = served_directory(process, program, option)
    return served is not None and is_same_directory(served, directory)


def served_directory(process: Process, program: str, option: str) -> Path | None:
    """The directory behind `option` in the command line of a `program` that serves (it says `--listen`), else None.

    A tool that merely carries such a line (a tracer, an editor) is not it: only the program itself, or Python with it.
    """
    arguments = process.arguments
    named = dict(reversed(list(pairwise(arguments)))).get(option)
    if named is None or "--listen" not in arguments:
        return None
    spellings = {program, program.replace("-", "_")}
    first, *following = [Path(argument).name for argument in arguments[:4]]
    is_program = first in spellings or (first.startswith("python") and not spellings.isdisjoint(following))
    # Deploy names whole paths; what another one leads to depends on where the process began.
    return Path(named) if is_program and Path(named).is_absolute() else None


def is_same_directory(one: Path, other: Path) -> bool:
    """Whether two paths lead to one directory, also where it is not there yet."""
    try:
        return one.samefile(other)
    except OSError:
        return one.resolve() == other.resolve()
