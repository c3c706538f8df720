"""Entry point of the program `dfs-client`."""

import sys
from typing import NoReturn

from dfs_runtime.imports import collect_seldom, leave, uncollected
from dfs_runtime.streams import open_standard_streams


def main() -> NoReturn:
    """Run the command line and leave with its exit code.

    Ctrl-C may come while modules are still being imported, or a second time while the first is dealt with; it is
    one sentence then too. That is why the imports stand in here.
    """
    open_standard_streams()
    try:
        with uncollected():
            from dfs_client.program import run_program
        collect_seldom()
        code = run_program(sys.argv[1:])
    except KeyboardInterrupt:
        from dfs_client.output import Output
        from dfs_wire.errors import InterruptedByUserError

        interrupted = InterruptedByUserError("interrupted")
        Output(program="dfs-client").error(interrupted)
        code = interrupted.exit_code
    leave(code)


if __name__ == "__main__":
    main()
