"""The command `dfs`: it operates clusters. One file a command lies in `commands/`."""

import os
from collections.abc import Sequence
from importlib import import_module

import click

from dfs_client.exit_codes import EXIT_CODES, run
from dfs_client.options import completion_variable
from dfs_client.output import Output
from dfs_deploy.options import HELP_NAMES, json_option, name_option
from dfs_deploy.session import PROGRAM, Session

#: command -> (module, its object). Modules are imported when a command is asked for: `--help` of one needs no other.
COMMANDS: dict[str, tuple[str, str]] = {
    "deploy": ("deploy", "deploy"),
    "list": ("list_clusters", "list_clusters"),
    "status": ("status", "status"),
    "logs": ("logs", "logs"),
    "stop": ("stop", "stop"),
    "start": ("start", "start"),
    "scale": ("scale", "scale"),
    "upgrade": ("upgrade", "upgrade"),
    "destroy": ("destroy", "destroy"),
    "node": ("node", "node"),
    "df": ("df", "df"),
    "repair": ("repair", "repair"),
    "rebalance": ("rebalance", "rebalance"),
    "explain": ("explain", "explain"),
    "fsck": ("fsck", "fsck"),
    "settings": ("settings", "settings"),
    "db": ("db", "db"),
    "profile": ("profile", "profile"),
    "export": ("export", "export"),
    "image": ("image", "image"),
    "completion": ("completion", "completion"),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed; listed in the order of the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        found = getattr(import_module(f"dfs_deploy.commands.{module}"), attribute)
        if not isinstance(found, click.Command):
            raise TypeError(f"dfs_deploy.commands.{module}.{attribute} is not a command")
        return found

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Exit codes, at the end of the help."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES.items()])


@click.group(
    cls=LazyGroup,
    name=PROGRAM,
    params=[json_option(), name_option()],
    context_settings=HELP_NAMES,
)
@click.version_option(package_name="dfs", message="%(prog)s %(version)s")
def cli() -> None:
    """Start and operate dfs clusters; `dfs-client` uses them.

    State lies in $DFS_HOME, or else in the user's data directory.
    """


def run_program(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    session = Session(Output(program=PROGRAM))
    if completion_variable(PROGRAM) in os.environ:
        cli.main(list(arguments), prog_name=PROGRAM, complete_var=completion_variable(PROGRAM), obj=session)
    return run(cli, arguments, PROGRAM, session.output, session)
