"""How the commands of the daemons end: a typed error, or a refusal by the system, is one sentence and a code."""

from typing import IO, Any

import click

from dfs_wire.errors import DfsError, InterruptedByUserError


class CommandError(click.ClickException):
    """A `DfsError` on its way to the terminal."""

    def __init__(self, program: str, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.program = program
        self.exit_code = exit_code  # type: ignore[misc] # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence."""
        click.echo(f"{self.program}: {self.message}", file=file, err=file is None)


class DaemonGroup(click.Group):
    """Commands that end with a sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - whatever the command returns
        """Run the chosen command."""
        program = ctx.find_root().info_name or "dfs"
        try:
            return super().invoke(ctx)
        except DfsError as error:
            raise CommandError(program, error.message, error.exit_code) from error
        except KeyboardInterrupt as error:
            raise CommandError(program, "interrupted", InterruptedByUserError.exit_code) from error
        except BrokenPipeError:
            raise  # click ends quietly: whoever read our output has enough
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise CommandError(program, f"{error.strerror or error}{where}", DfsError.exit_code) from error
