"""The `dfs-node` command. Options may also come from the environment, as `DFS_NODE_` and the option's name."""

import json
from pathlib import Path

import click

from dfs_node.config import NodeConfig, read_join_token
from dfs_runtime.imports import uncollected
from dfs_wire.daemon_command import DaemonGroup
from dfs_wire.errors import ChunkCorruptError, UsageError


@click.group(
    cls=DaemonGroup,
    invoke_without_command=True,
    context_settings={"auto_envvar_prefix": "DFS_NODE", "help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="dfs", prog_name="dfs-node")
@click.option(
    "--volume", type=click.Path(file_okay=False, path_type=Path), help="Directory that keeps this node's chunks."
)
@click.option("--name", default="", help="Name of this node, for people.")
@click.option("--master", default="", metavar="HOST:PORT", help="Where the master listens.")
@click.option("--listen", default="127.0.0.1:5001", show_default=True, metavar="HOST:PORT")
@click.option("--cluster-address", default="", metavar="HOST:PORT", help="How nodes reach this one [--listen].")
@click.option("--public-address", default="", metavar="HOST:PORT", help="How clients outside do [--cluster-address].")
@click.option("--zone", default="", help="What fails together with this node: a rack, a room.")
@click.option("--join-token-file", type=click.Path(path_type=Path), help="File with the token for a first join.")
@click.option("--expect-node", type=click.IntRange(min=1), metavar="ID", help="Refuse any other volume, or none.")
@click.option("--log-file", type=click.Path(path_type=Path), help="Write logs here instead of standard error.")
@click.option("--log-level", default="INFO", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]))
@click.pass_context
def node(
    context: click.Context,
    volume: Path | None,
    name: str,
    master: str,
    listen: str,
    cluster_address: str,
    public_address: str,
    zone: str,
    join_token_file: Path | None,
    expect_node: int | None,
    log_file: Path | None,
    log_level: str,
) -> None:
    """Keep chunks in a directory and serve them, until SIGTERM."""
    if context.invoked_subcommand is not None:
        return
    if volume is None or not name or not master:
        raise UsageError("--volume, --name and --master are needed; see 'dfs-node --help'")
    # What serves is imported only here, so that --help and --version are quick.
    with uncollected():
        from dfs_node.app import run
        from dfs_runtime.lifecycle import StopSignal

    stop = StopSignal()
    stop.install()
    run(
        NodeConfig(
            volume=volume.absolute(),
            name=name,
            master=master,
            listen=listen,
            cluster_address=cluster_address,
            public_address=public_address,
            zone=zone,
            join_token=read_join_token(join_token_file) if join_token_file is not None else None,
            expect_node=expect_node,
            log_file=log_file,
            log_level=log_level,
        ),
        stop,
    )


@node.command()
@click.option(
    "--volume",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory of a node that is stopped.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(volume: Path, as_json: bool) -> None:
    """Read every chunk of a volume; clear its recorded failure when all of it is well."""
    from dfs_node.verify_volume import verify_directory

    report = verify_directory(volume.absolute())
    bad = [{"digest": each.digest.hex(), "finding": each.detail} for each in report.bad]
    if as_json:
        shown = {"chunks": report.chunks, "bytes": report.bytes, "bad": bad, "cleared": report.cleared}
        click.echo(json.dumps(shown))
    else:
        for each in bad:
            click.echo(f"{each['digest']}  {each['finding']}")
        cleared = "; the volume is trusted again" if report.cleared else ""
        click.echo(f"{report.chunks} chunks, {report.bytes} bytes, {len(bad)} bad{cleared}")
    if bad:
        raise ChunkCorruptError(
            f"{len(bad)} chunks are bad; remove their files from {volume / 'chunks'} once other copies are known, "
            "then verify again"
        )


def main() -> None:
    """Run the command; a `DfsError` becomes one sentence and its exit code."""
    node.main(prog_name="dfs-node")
