"""The `dfs-master` command."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfs_master.config import MasterConfig
from dfs_runtime.imports import uncollected
from dfs_wire.daemon_command import DaemonGroup
from dfs_wire.errors import UsageError
from dfs_wire.limits import COPIES_MAX

if TYPE_CHECKING:
    from dfs_master.app import OpenStore

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


class _MasterGroup(DaemonGroup):
    """Loads the `db` commands when one of them is asked for: a master that only starts needs none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return [*super().list_commands(ctx), "db"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name != "db":
            return super().get_command(ctx, cmd_name)
        from dfs_master.db_commands import db

        return db


@click.group(
    cls=_MasterGroup,
    invoke_without_command=True,
    context_settings={"auto_envvar_prefix": "DFS_MASTER", "help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="dfs", prog_name="dfs-master")
@click.option("--data", type=_DIRECTORY, help="Directory that keeps the metadata and the key.")
@click.option("--listen", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT")
@click.option("--no-line-protocol", is_flag=True, help="Do not serve the line protocol.")
@click.option(
    "--allow-line-from",
    multiple=True,
    metavar="ADDRESS",
    help="Address or network, besides this machine, that may use the line protocol; in a container `gateway` is the "
    "gateway of its network. May be repeated.",
)
@click.option("--log-file", type=click.Path(path_type=Path), help="Write logs here instead of standard error.")
@click.option("--log-level", default="INFO", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]))
@click.pass_context
def master(
    context: click.Context,
    data: Path | None,
    listen: str,
    no_line_protocol: bool,
    allow_line_from: tuple[str, ...],
    log_file: Path | None,
    log_level: str,
) -> None:
    """Keep the metadata of a cluster and serve it, until SIGTERM."""
    if context.invoked_subcommand is not None:
        return
    if data is None:
        raise UsageError("--data is needed; see 'dfs-master --help'")
    # What serves is imported only here, so that --help and the db commands are quick.
    with uncollected():
        from dfs_master.app import run
        from dfs_runtime.lifecycle import StopSignal

    stop = StopSignal()
    stop.install()
    config = MasterConfig(
        data=data.absolute(),
        listen=listen,
        log_file=log_file,
        log_level=log_level,
        line_protocol=not no_line_protocol,
        line_allowed=allow_line_from,
    )
    open_store: OpenStore = context.obj
    run(config, stop, open_store)


@master.command()
@click.option("--data", type=_DIRECTORY, required=True, help="Directory to make.")
@click.option(
    "--copies", type=click.IntRange(1, COPIES_MAX), default=2, show_default=True, help="Copies of each chunk."
)
def init(data: Path, copies: int) -> None:
    """Make a new cluster's metadata and key; print its credentials as one JSON object, once."""
    with uncollected():
        from dfs_master.initialise import initialise
        from dfs_runtime.clock import SystemClock

    made = initialise(data.absolute(), SystemClock(), copies=copies)
    shown = {
        "cluster_id": made.cluster_id,
        "client_key": made.client_key.hex(),
        "admin_key": made.admin_key.hex(),
        "join_token": made.join_token.hex(),
    }
    click.echo(json.dumps(shown))


def run_command(open_store: "OpenStore") -> None:
    """Run the command; a `DfsError` becomes one sentence and its exit code."""
    master.main(prog_name="dfs-master", obj=open_store)
