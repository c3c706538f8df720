"""`dfs image`: the image of all roles and its base. `dfs deploy` makes both by itself when they are missing."""

import click

from dfs_deploy.options import HELP_NAMES, PlainCommand, pass_session
from dfs_deploy.session import Session


@click.group(context_settings=HELP_NAMES)
def image() -> None:
    """Make the container image ahead of the first deploy."""


@image.command(cls=PlainCommand)
@pass_session
def base(session: Session) -> None:
    """Make a base image from Debian's packages, for machines that reach no image registry. Needs mmdebstrap."""
    with session.progress():
        reference = session.engines.images.make_base()
    _tell(session, reference)


@image.command(cls=PlainCommand)
@click.option("--base", metavar="IMAGE", help="Build on this image; it needs a python3 of version 3.11.")
@pass_session
def build(session: Session, base: str | None) -> None:
    """Build the image of this version, unless it is there. With --base it is built in any case."""
    with session.progress():
        reference = session.engines.images.ensure(base)
    _tell(session, reference)


def _tell(session: Session, reference: str) -> None:
    if session.output.json:
        session.output.record({"image": reference})
    else:
        session.output.line(reference)
