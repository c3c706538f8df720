"""Entry point of the program `dfs`."""

import signal
import sys
from types import FrameType
from typing import NoReturn

from dfs_runtime.imports import collect_seldom, leave, uncollected
from dfs_runtime.streams import open_standard_streams


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Run the command line and leave with its exit code.

    SIGTERM and SIGHUP end a command as Ctrl-C does: what a deploy has begun is taken back. Any of them may come while
    modules are still being imported, and is one sentence then too. That is why the imports stand in here.
    """
    open_standard_streams()
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        signal.signal(signal.SIGHUP, _interrupt)
        with uncollected():
            from dfs_deploy.program import run_program
        collect_seldom()
        code = run_program(sys.argv[1:])
    except KeyboardInterrupt:
        from dfs_client.output import Output
        from dfs_wire.errors import InterruptedByUserError

        interrupted = InterruptedByUserError("interrupted")
        Output(program="dfs").error(interrupted)
        code = interrupted.exit_code
    leave(code)


if __name__ == "__main__":
    main()
