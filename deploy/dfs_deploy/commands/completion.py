"""`dfs completion`: the script that lets a shell complete commands and options."""

import click

from dfs_deploy.options import PlainCommand, pass_session
from dfs_deploy.session import PROGRAM, Session


@click.command(cls=PlainCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_session
def completion(session: Session, shell: str) -> None:
    """Print the completion script for SHELL; for bash: `eval "$(dfs completion bash)"`."""
    from click.shell_completion import get_completion_class

    from dfs_wire.errors import UsageError

    kind = get_completion_class(shell)
    root = click.get_current_context().find_root().command
    if kind is None:
        raise UsageError(f"There is no completion for {shell}.")
    session.output.line(kind(root, {}, PROGRAM, "_DFS_COMPLETE").source())
