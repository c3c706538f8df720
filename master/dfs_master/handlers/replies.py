"""How the committer's results become replies."""

from collections.abc import Callable

from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import encode_list
from dfs_wire.errors import DfsError
from dfs_wire.event_listener import Respond


def outcomes_to(respond: Respond) -> Callable[[list[m.Outcome] | DfsError], None]:
    """Deliver an outcome for each item of a mutation."""

    def deliver(result: list[m.Outcome] | DfsError) -> None:
        respond(result if isinstance(result, DfsError) else Answer(m.OutcomesReply(), encode_list(result)))

    return deliver


def done_to(respond: Respond) -> Callable[[object], None]:
    """Deliver the end of a mutation that has nothing to say but that it is done."""

    def deliver(result: object) -> None:
        respond(result if isinstance(result, DfsError) else Answer(m.Done()))

    return deliver
