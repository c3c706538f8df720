"""How the committer's results become replies."""

from collections.abc import Callable

from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import encode_list
from dfs_wire.errors import DfsError, TooLargeError
from dfs_wire.event_listener import Respond


def outcomes_to(respond: Respond) -> Callable[[list[m.Outcome] | DfsError], None]:
    """Deliver an outcome for each item of a mutation."""

    def deliver(result: list[m.Outcome] | DfsError) -> None:
        if isinstance(result, DfsError):
            respond(result)
            return
        try:
            respond(Answer(m.OutcomesReply(), encode_list(result)))
        except TooLargeError as error:
            # Thousands of digests to send again: the committer's thread must not end over a reply.
            respond(error)

    return deliver


def done_to(respond: Respond) -> Callable[[object], None]:
    """Deliver the end of a mutation that has nothing to say but that it is done."""

    def deliver(result: object) -> None:
        respond(result if isinstance(result, DfsError) else Answer(m.Done()))

    return deliver
