"""`dfs-client policy`: how many copies a tree keeps."""

import click

from dfs_client.options import HELP_NAMES, REMOTE_PATH, ClientCommand
from dfs_client.session import Session
from dfs_wire.limits import COPIES_MAX


@click.group(context_settings=HELP_NAMES, short_help="Show or set how many copies are kept.")
def policy() -> None:
    """Show or change how many copies the files below a directory keep. Directories below inherit it."""


@policy.command(
    cls=ClientCommand,
    json_fields=("One object: path, copies_wanted, policy_from (null: the cluster's default).",),
)
@click.argument("path", type=REMOTE_PATH, default="")
@click.pass_obj
def show(session: Session, path: str) -> None:
    """Show the copies wanted at PATH (/ without one) and the directory that says so."""
    _show(session, session.remote(path) if path else session.directory)


@policy.command("set", cls=ClientCommand)
@click.argument("path", type=REMOTE_PATH)
@click.option(
    "--copies",
    type=click.IntRange(1, COPIES_MAX),
    required=True,
    metavar="N",
    help=f"Copies of every file below PATH, 1 to {COPIES_MAX}.",
)
@click.pass_obj
def set_(session: Session, path: str, copies: int) -> None:
    """Keep N copies of every file below the directory PATH."""
    wanted = session.remote(path)
    session.dfs.set_policy(wanted, copies)
    _show(session, wanted)


@policy.command(cls=ClientCommand)
@click.argument("path", type=REMOTE_PATH)
@click.pass_obj
def unset(session: Session, path: str) -> None:
    """Let the directory PATH inherit its policy again."""
    wanted = session.remote(path)
    session.dfs.set_policy(wanted, 0)
    _show(session, wanted)


policy.add_command(show, "get")


def _show(session: Session, path: str) -> None:
    found = session.dfs.stat(path)
    if session.output.json:
        session.output.record(
            {"path": path, "copies_wanted": found.copies_wanted, "policy_from": found.policy_from or None}
        )
        return
    origin = found.policy_from or "the cluster"
    session.output.fields([("path", path), ("copies wanted", str(found.copies_wanted)), ("set at", origin)])
