"""The command `dfs`: it operates clusters. One file a command lies in `commands/`."""

import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from types import FrameType

import click

from dfs_client import exit_codes
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
    "destroy": ("destroy", "destroy"),
    "node": ("node", "node"),
    "db": ("db", "db"),
    "profile": ("profile", "profile"),
    "completion": ("completion", "completion"),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed; listed in the order of the table."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All names."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        found = getattr(import_module(f"dfs_deploy.commands.{module}"), attribute)
        return found if isinstance(found, click.Command) else None


@click.group(cls=LazyGroup, context_settings=HELP_NAMES)
@click.version_option(version("dfs"), prog_name=PROGRAM, message="%(prog)s %(version)s")
def cli() -> None:
    """Start and operate dfs clusters. `dfs-client` uses them.

    State lies in $DFS_HOME (default: the user's data directory).

    Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 exists or conflict, 5 unavailable, 6 not allowed,
    7 corrupt, 130 interrupted.
    """


cli.params += [json_option(), name_option()]


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    output = Output(program=PROGRAM)
    return exit_codes.run(cli, arguments, PROGRAM, output, Session(output))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """The program. A polite end (SIGTERM, SIGHUP) takes back a deploy that is under way, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
