"""What all commands of `dfs` have in common: help and the options for the cluster and for output."""

from typing import Any

import click

from dfs_client.kept_options import keep_in
from dfs_deploy.session import Session

HELP_NAMES = {"help_option_names": ["-h", "--help"]}

pass_session = click.make_pass_decorator(Session)


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
        callback=keep_in(Session, _set_json),
        help="Print JSON, one object a line; an error is its sentence and an object on standard error.",
    )


def name_option() -> click.Option:
    """`--name`, behind the program's name or behind the command's."""
    return click.Option(
        ["--name"],
        metavar="NAME",
        expose_value=False,
        callback=keep_in(Session, _set_name),
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
