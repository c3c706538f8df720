"""`dfs repair`: how far lost copies are made anew, and the decision that only a person can take."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@click.argument("action", type=click.Choice(["status"]), default="status", required=False)
@click.option(
    "--force",
    is_flag=True,
    help="Give up the nodes that vanished at once, and copy what they held. A master that restarts forgets it.",
)
@pass_session
def repair(session: Session, action: str, *, force: bool) -> None:
    """Show how far repair is: what is left, how fast, what it waits for.

    Repair runs by itself. Only where several nodes vanished at once it waits for them, or for --force.
    """
    from dfs_deploy.repair_report import repair_lines, repair_object
    from dfs_deploy.status import connect_to

    del action  # there is one
    with connect_to(session) as dfs:
        given_up = dfs.admin.force_repair() if force else []
        reply = dfs.admin.repair_status()
    if session.output.json:
        session.output.record(repair_object(reply) | ({"given_up": given_up} if force else {}))
        return
    if force:
        names = ", ".join(given_up)
        session.output.line(f"{names} given up; what they held is copied." if given_up else "Repair was not held back.")
    session.output.fields(repair_lines(reply))
