"""What all commands of `dfs` have in common: help and the options for the cluster and for output."""

from collections.abc import Callable
from typing import Any

import click

from dfs_deploy.session import Session
from dfs_wire.errors import UsageError

HELP_NAMES = {"help_option_names": ["-h", "--help"]}

pass_session = click.make_pass_decorator(Session)


def _keep(store: Callable[[Session, object], None]) -> Callable[[click.Context, click.Parameter, Any], None]:
    """A callback that keeps a given value in the session; an option that was not given changes nothing."""

    def callback(context: click.Context, parameter: click.Parameter, value: object) -> None:
        if value == "":
            # It is what a variable that is not set leaves behind, and must not mean the cluster deployed last.
            raise UsageError(f"{parameter.opts[0]} is empty; give it a value, or leave it out")
        session = context.find_object(Session)
        if session is not None and value:
            store(session, value)

    return callback


def _set_json(session: Session, value: object) -> None:
    session.output.json = bool(value)


def _set_name(session: Session, value: object) -> None:
    session.name = str(value)


def json_option() -> click.Option:
    """`--json`, behind the program's name or behind the command's."""
    return click.Option(
        ["--json"],
        is_flag=True,
        expose_value=False,
        callback=_keep(_set_json),
        help="Print JSON, one object a line; an error is its sentence and an object on standard error.",
    )


def name_option() -> click.Option:
    """`--name`, behind the program's name or behind the command's."""
    return click.Option(
        ["--name"],
        metavar="NAME",
        expose_value=False,
        callback=_keep(_set_name),
        help="The cluster.  [env: DFS_PROFILE; default: the one deployed last]",
    )


class PlainCommand(click.Command):
    """A command about all clusters: it has `--json` only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - click's own signature
        super().__init__(*args, **kwargs)
        self.params.append(json_option())


class ClusterCommand(PlainCommand):
    """A command about one cluster: it has `--name` too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - click's own signature
        super().__init__(*args, **kwargs)
        self.params.append(name_option())
