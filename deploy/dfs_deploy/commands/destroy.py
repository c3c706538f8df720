"""`dfs destroy`: end a cluster for good."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@click.option("--delete-data", is_flag=True, help="Delete everything that the cluster stored, too.")
@click.option(
    "--yes", is_flag=True, help="Do not ask; where there are several clusters, --name or DFS_PROFILE must say which."
)
@pass_session
def destroy(session: Session, delete_data: bool, yes: bool) -> None:
    """End a cluster and forget its profile. Its data stays unless --delete-data says otherwise.

    Asks before it deletes data; a script says --yes. Afterwards no other cluster is meant in its place: name it.
    """
    from dfs_deploy.reports import change_object

    spec = session.cluster()
    place = session.engine_of(spec).data_place(spec)
    if delete_data:
        session.confirm_deletion(f"Delete all data of cluster {spec.name} in {place}?", yes=yes)
    with session.progress():
        change = session.operator.destroy(spec.name, delete_data=delete_data)
    if session.output.json:
        kept = None if delete_data else place
        session.output.record(change_object(change, running=0) | {"data_kept": kept})
    elif delete_data:
        session.output.line(f"Cluster {spec.name} and all its data are gone.")
    else:
        session.output.line(f"Cluster {spec.name} is gone; its data is kept in {place}.")
        session.output.line(f"`dfs deploy --name {spec.name}` brings it back over that data;")
        session.output.line(f"`dfs destroy --name {spec.name} --delete-data` deletes it.")
