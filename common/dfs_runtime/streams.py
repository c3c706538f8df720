"""The three standard streams, which a program may be started without (`program >&-`, some supervisors)."""

import os
import sys


def open_standard_streams() -> None:
    """Give the streams that are closed a place: what is written to them is lost, and reading is an error.

    Otherwise the next file or connection that is opened would get the number of a standard stream. Input is not the
    empty /dev/null: who stores standard input that is closed must not store an empty file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY)  # it gets the lowest number that is free, which is this one
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
