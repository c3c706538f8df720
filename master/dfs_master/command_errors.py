"""How a command of `dfs-master` ends when it cannot do what it was asked: one sentence, and the error's exit code."""

from typing import IO, Any

import click

from dfs_wire.errors import DfsError

PROGRAM = "dfs-master"


class CommandError(click.ClickException):
    """A `DfsError` on its way to the terminal."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence."""
        click.echo(f"{PROGRAM}: {self.message}", file=file, err=file is None)


class CommandGroup(click.Group):
    """Commands whose typed errors and refusals of the operating system become a sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - whatever the command returns
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except DfsError as error:
            raise CommandError(error.message, error.exit_code) from error
        except BrokenPipeError:
            raise  # click ends quietly: whoever read our output has enough
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise CommandError(f"{error.strerror or error}{where}", DfsError.exit_code) from error
