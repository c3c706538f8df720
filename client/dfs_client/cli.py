"""Entry point of the program `dfs-client`."""

import gc
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and leave with its exit code.

    Ctrl-C may come while modules are still being imported, or a second time while the first is dealt with; it is
    one sentence then too. That is why the imports stand in here.
    """
    # What is imported stays until the end: to look through it for garbage, while it comes and when the interpreter
    # ends, would be a fifth of a short command's time.
    gc.disable()
    try:
        from dfs_client.program import run_program

        gc.freeze()
        gc.enable()
        code = run_program(sys.argv[1:])
    except KeyboardInterrupt:
        from dfs_client.output import Output
        from dfs_wire.errors import InterruptedByUserError

        interrupted = InterruptedByUserError("interrupted")
        Output(program="dfs-client").error(interrupted)
        code = interrupted.exit_code
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
