"""Options of both programs that stand behind the program's name or behind the command's: the session keeps them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from dfs_wire.errors import UsageError

S = TypeVar("S")


def keep_in(
    session_type: type[S], store: Callable[[S, Any], None]
) -> Callable[[click.Context, click.Parameter, Any], None]:
    """A callback that keeps a given value in the session; an option that was not given changes nothing."""

    def callback(context: click.Context, parameter: click.Parameter, value: object) -> None:
        if value == "":
            # It is what a variable that is not set leaves behind, and must not mean the cluster deployed last.
            raise UsageError(f"{parameter.opts[0]} is empty; give it a value, or leave it out")
        session = context.find_object(session_type)
        if session is not None and value:
            store(session, value)

    return callback
