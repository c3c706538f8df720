"""strace: who makes which system call in which order, and calls that fail or kill."""

import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

STRACE = shutil.which("strace")
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed; install it to run this test")

ATTACH_SECONDS = 30.0
#: All threads, paths of descriptors, times and durations, bytes that are no text in hexadecimal.
RECORD = ("-f", "-y", "-ttt", "-T", "-x", "-s", "48")
#: `pid time call(arguments) = result`, with the two halves of an interrupted call on lines of their own.
_LINE = re.compile(r"^(?P<thread>\d+) +(?P<at>\d+\.\d+) (?P<text>.*)$")
_CALL = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\w+).* <(?P<took>[\d.]+)>$")
_RESUMED = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)$")
#: `-x` prints strings with bytes beyond ASCII in hexadecimal: magic, protocol version 1, kind, verb.
_FRAME = re.compile(r'"\\xdf\\x44\\x46\\x53\\x01\\x(..)\\x(..)\\x(..)')
_UNFINISHED = " <unfinished ...>"


@dataclass(frozen=True, slots=True)
class Call:
    """One finished system call. `began` and `ended` are seconds since 1970, comparable over all processes."""

    thread: int
    name: str
    arguments: str
    result: str
    began: float
    ended: float

    def frame(self) -> tuple[int, int] | None:
        """Kind and verb where the bytes that it sent or received begin with a frame."""
        found = _FRAME.search(self.arguments)
        if found is None:
            return None
        kind, high, low = (int(digits, 16) for digits in found.groups())
        return kind, high << 8 | low


@contextmanager
def attached(pid: int, *options: str, output: Path) -> Iterator[None]:
    """Trace a running process and its threads for the length of the block.

    Raises:
        AssertionError: strace could not attach.
    """
    command = [
        STRACE or "strace",
        "-f",
        "-y",
        "-ttt",
        "-T",
        "-x",
        "-s",
        "48",
        "-o",
        str(output),
        *options,
        "-p",
        str(pid),
    ]
    with ExitStack() as exits:
        tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        exits.callback(_end, tracer)
        _await_attached(tracer)
        yield


def _end(tracer: "subprocess.Popen[bytes]") -> None:
    # SIGTERM lets it detach; killed, it would take the process along.
    tracer.terminate()
    tracer.wait()
    if tracer.stderr is not None:
        tracer.stderr.close()


def _await_attached(tracer: "subprocess.Popen[bytes]") -> None:
    if tracer.stderr is None:
        raise ValueError("strace has no pipe to speak to")
    said = b""
    deadline = time.monotonic() + ATTACH_SECONDS
    while b"attached" not in said:
        ready, _, _ = select.select([tracer.stderr], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(tracer.stderr.fileno(), 4096) if ready else b""
        if not data:
            raise AssertionError(f"strace did not attach: {said.decode(errors='replace')}")
        said += data


def read_trace(path: Path) -> list[Call]:
    """The finished calls of a trace in the order in which they ended."""
    calls: list[Call] = []
    begun: dict[int, tuple[float, str]] = {}
    for line in path.read_text().splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        thread, text, began = int(found["thread"]), found["text"], float(found["at"])
        if text.endswith(_UNFINISHED):
            begun[thread] = (began, text.removesuffix(_UNFINISHED))
            continue
        if resumed := _RESUMED.match(text):
            if thread not in begun:
                continue  # it began before the tracer came
            began, start = begun.pop(thread)
            text = start + resumed["rest"]
        if call := _CALL.match(text):
            ended = began + float(call["took"])
            calls.append(Call(thread, call["name"], call["arguments"], call["result"], began, ended))
    return calls
