"""Each mutation of a client counts once, however often it arrives.

The outcome is stored under the client's request id in the transaction that makes it true, and a repeat gets it back.
Only outcomes that changed something are stored. A refused request changed nothing, so judging its repeat anew breaks
no promise, and it may well succeed by then (a node came back, a name became free); storing refusals would also let
anybody fill the table with requests that do nothing.

Repeats are rare, and the key of the table takes no id twice. So a request is judged before its id is looked up: of a
repeat that would change something again the outcome cannot be written, and then its group is taken one by one, with
each id looked up first (`Context.ids_first`). What would be refused is looked up before that is the answer.
"""

from typing import TypeVar, cast

import msgspec

from dfs_master.catalog.mutations.base import ClientMutation, Context, Mutation, require_request_id
from dfs_master.catalog.rows import RequestRow, new_request
from dfs_wire.codec import decode, encode
from dfs_wire.errors import DfsError, UsageError

T = TypeVar("T")


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """The column `requests.outcome`: written as a pair, which looks the same."""

    kind: str
    reply: msgspec.Raw


def apply_once(mutation: Mutation[T], context: Context) -> T | DfsError:
    """Apply a mutation, or answer the repeat of one that was applied before.

    Raises:
        DfsError: refused.
        UsageError: the request id is malformed, or was used for something else.
    """
    if mutation.of_client:
        return _apply_client_mutation(cast("ClientMutation[T]", mutation), context)
    return mutation.apply(context)


def _apply_client_mutation(mutation: ClientMutation[T], context: Context) -> T | DfsError:
    staging = context.staging
    request_id = require_request_id(mutation.request_id)
    if context.ids_first or staging.knows_request(request_id):
        stored = staging.request(request_id)
        if stored is not None:
            return _recall(mutation, stored)
    mark = staging.mark()
    try:
        reply = mutation.apply(context)
    except DfsError:
        stored = staging.request(request_id)
        if stored is None:
            raise
    else:
        if not isinstance(reply, DfsError) and mutation.is_worth_remembering(reply):
            staging.put_request(new_request((request_id, encode((_kind(mutation), reply)), context.now_ms)))
            return reply
        stored = staging.request(request_id)
        if stored is None:
            return reply
    staging.undo(mark)
    return _recall(mutation, stored)


def _kind(mutation: ClientMutation[T]) -> str:
    return type(mutation).__name__


def _recall(mutation: ClientMutation[T], stored: RequestRow) -> T:
    outcome = decode(stored.outcome, _Stored)
    if outcome.kind != _kind(mutation):
        raise UsageError(f"the request id was used for a {outcome.kind} before; make a new one for each request")
    return cast("T", decode(outcome.reply, cast("type[object]", mutation.reply_type)))
