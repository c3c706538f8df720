"""`dfs explain`: where copies are, and why."""

import click

from dfs_deploy.options import ClusterCommand, pass_session
from dfs_deploy.session import Session


@click.command(cls=ClusterCommand)
@click.argument("subject", metavar="PATH|CHUNK|NODE")
@pass_session
def explain(session: Session, subject: str) -> None:
    """Tell in plain words where the copies are, why there, how many failures they survive, and what is under way.

    PATH begins with a slash. CHUNK is a digest, or 8 hex digits of its beginning. NODE is a name or an id.
    """
    from dfs_client.display import visible
    from dfs_deploy.status import connect_to

    with connect_to(session) as dfs:
        reply, sentences = dfs.admin.explain(subject)
    if session.output.json:
        session.output.record(
            {"subject": subject, "kind": reply.kind, "survives": reply.survives, "sentences": sentences}
        )
        return
    for sentence in sentences:
        session.output.line(visible(sentence))
