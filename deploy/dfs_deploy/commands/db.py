"""`dfs db`: the metadata database, worked on by `dfs-master db` where it lies."""

import click

from dfs_deploy.options import HELP_NAMES, ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.group(context_settings=HELP_NAMES)
def db() -> None:
    """Look at, check, back up or upgrade the metadata database."""


def _run(session: Session, *arguments: str) -> None:
    """Run `dfs-master db ARGUMENTS`, and end as it ended: it has said all there is to say."""
    spec = session.cluster()
    extra = ("--json",) if session.output.json else ()
    session.output.flush()
    code = session.engine_of(spec).run_master_command(spec, ["db", *arguments, *extra])
    if code != 0:
        raise click.exceptions.Exit(code)


@db.command(cls=ClusterCommand)
@click.argument("table", type=click.Choice(["nodes", "files", "replicas", "events"]))
@pass_session
def show(session: Session, table: str) -> None:
    """Print nodes, files, replicas or events from the database file itself, with the master running or not."""
    _run(session, "show", table)


@db.command(cls=ClusterCommand)
@pass_session
def upgrade(session: Session) -> None:
    """Bring the database of a stopped cluster to this version's schema, after a backup (a start does it too)."""
    _run(session, "upgrade")


@db.command(cls=ClusterCommand)
@pass_session
def accept(session: Session) -> None:
    """Go on with this database although the nodes have seen a newer one, as after restoring a backup.

    What only the newer database knew is not in any list any more; chunks of it stay on the nodes for another 25 hours.
    """
    from dfs_deploy.status import look_at

    if look_at(session).reply is None:
        _run(session, "accept")
        return
    from dfs_deploy.status import connect_to

    with connect_to(session) as dfs:
        begun = dfs.admin.accept_database()
    if session.output.json:
        session.output.record({"epoch": begun.epoch, "commit_seq": begun.commit_seq})
        return
    session.output.line(f"The database is accepted; the master goes on in epoch {begun.epoch}.")


@db.command(cls=ClusterCommand)
@pass_session
def check(session: Session) -> None:
    """Check that the database is whole and fits this version."""
    _run(session, "check")


@db.command(cls=ClusterCommand)
@click.argument("target", type=click.Path(dir_okay=False, resolve_path=True))
@pass_session
def backup(session: Session, target: str) -> None:
    """Write a consistent copy of the database to TARGET, with the master running or not.

    The copy does not hold master.key: keep that apart.
    """
    _run(session, "backup", target)
