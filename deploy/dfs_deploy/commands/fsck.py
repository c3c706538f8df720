"""`dfs fsck`: compare the catalog with the volumes."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@click.option("--verify-data", is_flag=True, help="Read and hash every byte, not headers and lengths only.")
@pass_session
def fsck(session: Session, *, verify_data: bool) -> None:
    """Compare what the metadata says with what the volumes hold, and name every damaged file.

    Works on a running and on a stopped cluster, and changes nothing. Exit code 7 if anything is damaged, 5 if a volume
    could not be looked at.
    """
    from dfs_deploy.fsck.check import check
    from dfs_deploy.fsck.report import show
    from dfs_wire.errors import CorruptError, UnavailableError

    spec = session.cluster()
    engine = session.engine_of(spec)
    with session.progress():
        result = check(engine, spec, read_data=verify_data, progress=session.progress_line)
    show(result, session.output)
    if result.damaged:
        raise CorruptError("Something is damaged; the lines above name it.")
    if result.unscanned:
        raise UnavailableError("Not every volume could be looked at; the lines above say why.")
