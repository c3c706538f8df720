"""What all commands of `dfs-client` have in common: help, the options for output and connection, remote arguments."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from dfs_client.kept_options import keep_in
from dfs_client.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

HELP_NAMES = {"help_option_names": ["-h", "--help"]}


def completion_variable(program: str) -> str:
    """The environment variable by which a completion script talks to the program."""
    return f"_{program.replace('-', '_').upper()}_COMPLETE"


def connection_options() -> list[click.Option]:
    """Fresh `--json`, `--profile` and `--master`: right behind the program's name, or behind the command's."""
    return [
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=keep_in(Session, _set_json),
            help="Print JSON, one object a line; an error is its sentence and an object on standard error.",
        ),
        click.Option(
            ["--profile"],
            metavar="NAME",
            expose_value=False,
            callback=keep_in(Session, _set_profile),
            help="The cluster to use, by the name of its profile.  [env: DFS_PROFILE; default: deployed last]",
        ),
        click.Option(
            ["--master"],
            metavar="HOST:PORT",
            expose_value=False,
            callback=keep_in(Session, _set_master),
            help="The master to use instead of the profile's.  [env: DFS_MASTER]",
        ),
    ]


def _set_json(session: Session, value: object) -> None:
    session.output.json = bool(value)


def _set_profile(session: Session, value: object) -> None:
    session.profile = str(value)


def _set_master(session: Session, value: object) -> None:
    session.master = str(value)


class ClientCommand(click.Command):
    """A command with the options that all have; its help ends with examples and the fields of its JSON objects."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's own signature
        examples: Sequence[tuple[str, str]] = (),
        json_fields: Sequence[str] = (),
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.json_fields = json_fields
        self.params.extend(connection_options())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples as they are typed, never wrapped, then the JSON fields."""
        if self.examples:
            width = max(len(command) for command, _ in self.examples)
            with formatter.section("Examples"):
                for command, meaning in self.examples:
                    line = f"{command:<{width}}  {meaning}".rstrip()
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
        if self.json_fields:
            with formatter.section("JSON"):
                for line in self.json_fields:
                    formatter.write_text(line)


class RemotePath(click.ParamType[str]):
    """A remote path. It stays as written, because a slash at its end means something; shells complete it."""

    name = "remote path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        """The text itself."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        """Names that the store has, where it answers at once."""
        from click.shell_completion import CompletionItem

        from dfs_client.completion import remote_candidates
        from dfs_client.session import Connections

        session = ctx.find_object(Session)
        connections = Connections() if session is None else session.connections
        try:
            root = ctx.find_root().params
            found = remote_candidates(lambda: connections.get(root.get("profile"), root.get("master")), incomplete)
        finally:
            if session is None:
                connections.close()
        return [CompletionItem(candidate) for candidate in found]


REMOTE_PATH = RemotePath()
