"""How a program ends: one place turns every way out of a command into a sentence and an exit code."""

import itertools
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import click

from dfs_client.local_errors import from_os_error
from dfs_client.output import Output, OutputClosedError
from dfs_wire.errors import DfsError, InterruptedByUserError, UsageError

DONE = 0
FAILED = 1

#: The one table. Help texts and `docs/commands.md` show it.
EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "failed",
    2: "usage",
    3: "not found",
    4: "exists or conflict",
    5: "unavailable",
    6: "not allowed",
    7: "corrupt",
    130: "interrupted",
}


def exit_code_of(action: Callable[[], None], output: Output) -> int:
    """Run a command, say what went wrong, and return its exit code.

    A fault of ours (any exception that is no error of the tree) is not caught: its traceback is the report.
    """
    try:
        action()
        output.flush()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except OutputClosedError:
        _forget_standard_output()
        return FAILED
    except (KeyboardInterrupt, EOFError, click.Abort):
        return _report(InterruptedByUserError("interrupted"), output)
    except click.ClickException as error:
        return _report(_from_click(error), output)
    except DfsError as error:
        return _report(error, output)
    except OSError as error:
        return _report(from_os_error(error), output)
    return DONE


def run(group: click.Group, arguments: Sequence[str], program: str, output: Output, state: object = None) -> int:
    """Parse and run one command line of a program. `state` becomes the context's object."""
    if "--json" in itertools.takewhile(lambda argument: argument != "--", arguments):
        output.json = True  # known before the line is parsed, for the case that it cannot be

    def action() -> None:
        with group.make_context(program, list(arguments), obj=state) as context:
            group.invoke(context)

    return exit_code_of(action, output)


def _report(error: DfsError, output: Output) -> int:
    with suppress(OutputClosedError):
        output.flush()
    with suppress(OutputClosedError):
        output.error(error)
    return error.exit_code


def _from_click(error: click.ClickException) -> DfsError:
    """A line that could not be parsed, in the form of our own sentences."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and error.ctx is not None:
        # Its message is the whole help, which is no sentence.
        command = error.ctx.command_path
        return UsageError(f"name a command of '{command}'; '{command} --help' lists them")
    message = " ".join(error.format_message().split()).rstrip(".")
    sentence = message[:1].lower() + message[1:]
    if not isinstance(error, click.UsageError):
        return DfsError(sentence)
    if error.ctx is None:
        return UsageError(sentence)
    # A suggestion ends in a question mark, behind which a new sentence begins.
    see = " See" if sentence.endswith("?") else "; see"
    return UsageError(f"{sentence}{see} '{error.ctx.command_path} --help'")


def _forget_standard_output() -> None:
    """Point standard output nowhere, or the interpreter complains about the closed pipe while it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)
