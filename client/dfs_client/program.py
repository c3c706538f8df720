"""The commands of `dfs-client` as one group; each is loaded only when it runs."""

import os
from collections.abc import Sequence
from importlib import import_module

import click

from dfs_client.exit_codes import EXIT_CODES, run
from dfs_client.options import HELP_NAMES, completion_variable, connection_options
from dfs_client.output import Output
from dfs_client.session import ALIASES, PROGRAM, Connections, Session
from dfs_wire.errors import UsageError

#: Command -> module of `dfs_client.commands` and the name in it.
_COMMANDS = {
    "upload": ("upload", "upload"),
    "download": ("download", "download"),
    "list": ("list", "list_"),
    "stat": ("stat", "stat"),
    "cat": ("cat", "cat"),
    "rm": ("rm", "rm"),
    "mv": ("mv", "mv"),
    "mkdir": ("mkdir", "mkdir"),
    "du": ("du", "du"),
    "df": ("df", "df"),
    "sync": ("sync", "sync"),
    "policy": ("policy", "policy"),
    "completion": ("completion", "completion"),
}


class LazyGroup(click.Group):
    """Knows its commands by name; importing one is left until it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands in the order of the table; aliases are not listed."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name or alias."""
        place = _COMMANDS.get(ALIASES.get(cmd_name, cmd_name))
        if place is None:
            return None
        module, name = place
        command = getattr(import_module(f"dfs_client.commands.{module}"), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"dfs_client.commands.{module}.{name} is not a command")
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Aliases and exit codes, at the end of the help."""
        with formatter.section("Aliases"):
            formatter.write_dl(list(ALIASES.items()))
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])


@click.group(
    cls=LazyGroup,
    name=PROGRAM,
    params=list[click.Parameter](connection_options()),
    invoke_without_command=True,
    context_settings=HELP_NAMES,
)
@click.version_option(package_name="dfs", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Store, list and fetch files in a dfs cluster.

    Without a command it is an interactive terminal: the same commands at a prompt, with history and completion.

    `dfs deploy` writes the profile that this program uses; nothing needs to be set up.
    """
    if context.invoked_subcommand is not None:
        return
    session = context.find_object(Session)
    if session is None or session.terminal is not None:
        raise UsageError("name a command; 'help' lists them")
    from dfs_client.shell import run_shell

    run_shell(cli, session)


def run_program(arguments: Sequence[str], connections: Connections | None = None) -> int:
    """Run one command line and return its exit code."""
    connections = connections or Connections()
    session = Session(connections, Output(program=PROGRAM))
    try:
        if completion_variable(PROGRAM) in os.environ:
            cli.main(list(arguments), prog_name=PROGRAM, complete_var=completion_variable(PROGRAM), obj=session)
        return run(cli, arguments, PROGRAM, session.output, session)
    finally:
        connections.close()
