"""`dfs-client completion`: scripts that make a shell complete commands, options and remote paths."""

import click
from click.shell_completion import ShellComplete, get_completion_class

from dfs_client.options import ClientCommand, completion_variable
from dfs_client.session import PROGRAM, Session
from dfs_wire.errors import UsageError

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=ClientCommand,
    short_help="Print the completion script of a shell.",
    examples=(
        ('eval "$(dfs-client completion bash)"', "in ~/.bashrc"),
        ('eval "$(dfs-client completion zsh)"', "in ~/.zshrc"),
        ("dfs-client completion fish | source", "in ~/.config/fish/config.fish"),
    ),
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    session = context.find_object(Session)
    kind = get_completion_class(shell)
    if session is None or kind is None:
        raise UsageError(f"there is no completion for {shell}; use one of {', '.join(_SHELLS)}")
    script = kind(context.find_root().command, {}, PROGRAM, completion_variable(PROGRAM))
    # The base class's method: bash's own starts a bash to ask for its version.
    session.output.line(ShellComplete.source(script))
