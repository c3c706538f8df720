"""`dfs rebalance`: how evenly full the nodes are, and a pause of that."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@click.argument("action", type=click.Choice(["status", "pause", "resume"]), default="status", required=False)
@pass_session
def rebalance(session: Session, action: str) -> None:
    """Show how far the nodes are from evenly full; pause or resume moving copies to emptier ones.

    Each copy is made and verified before the surplus one is removed, so no file has fewer copies on the way.
    """
    from dfs_deploy.repair_report import rebalance_object, rebalance_text
    from dfs_deploy.status import connect_to

    with connect_to(session) as dfs:
        if action != "status":
            dfs.admin.pause_rebalance(paused=action == "pause")
        reply = dfs.admin.repair_status()
    if session.output.json:
        told = rebalance_object(reply)
        session.output.record(told if action == "status" else told | {"paused": action == "pause"})
    elif action == "status":
        session.output.fields([("rebalance", rebalance_text(reply))])
    else:
        session.output.line("Rebalance is paused." if action == "pause" else "Rebalance goes on.")
