"""`dfs completion`: scripts that make a shell complete commands and options."""

import click
from click.shell_completion import ShellComplete, get_completion_class

from dfs_client.options import completion_variable
from dfs_deploy.options import PlainCommand, pass_session
from dfs_deploy.session import PROGRAM, Session
from dfs_wire.errors import UsageError

_SHELLS = ("bash", "zsh", "fish")


@click.command(cls=PlainCommand)
@click.argument("shell", type=click.Choice(_SHELLS))
@pass_session
def completion(session: Session, shell: str) -> None:
    r"""Print the completion script of a shell.

    \b
    bash: eval "$(dfs completion bash)"            in ~/.bashrc
    zsh:  eval "$(dfs completion zsh)"             in ~/.zshrc
    fish: dfs completion fish | source             in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"There is no completion for {shell}; use one of {', '.join(_SHELLS)}.")
    script = kind(click.get_current_context().find_root().command, {}, PROGRAM, completion_variable(PROGRAM))
    # The base class's method: bash's own starts a bash to ask for its version.
    session.output.line(ShellComplete.source(script))
