"""Each mutation of a client counts once, however often it arrives.

The outcome is stored under the client's request id in the transaction that makes it true, and a repeat gets it back.
Only outcomes that changed something are stored. A refused request changed nothing, so judging its repeat anew breaks
no promise, and it may well succeed by then (a node came back, a name became free); storing refusals would also let
anybody fill the table with requests that do nothing.
"""

from typing import TypeVar, cast

import msgspec

from dfs_master.catalog.mutations.base import ClientMutation, Context, Mutation, require_request_id
from dfs_master.catalog.rows import RequestRow
from dfs_wire.codec import decode, encode
from dfs_wire.errors import DfsError, UsageError

T = TypeVar("T")


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """The column `requests.outcome`."""

    kind: str
    reply: msgspec.Raw


def apply_once(mutation: Mutation[T], context: Context) -> T | DfsError:
    """Apply a mutation, or answer the repeat of one that was applied before.

    Raises:
        DfsError: refused.
        UsageError: the request id is malformed, or was used for something else.
    """
    if isinstance(mutation, ClientMutation):
        return _apply_client_mutation(mutation, context)
    return mutation.apply(context)


def _apply_client_mutation(mutation: ClientMutation[T], context: Context) -> T | DfsError:
    stored = context.staging.request(require_request_id(mutation.request_id))
    if stored is not None:
        return _recall(mutation, stored)
    reply = mutation.apply(context)
    if not isinstance(reply, DfsError) and mutation.is_worth_remembering(reply):
        outcome = encode(_Stored(_kind(mutation), msgspec.Raw(encode(reply))))
        context.staging.put_request(RequestRow(mutation.request_id, outcome, context.now_ms))
    return reply


def _kind(mutation: ClientMutation[T]) -> str:
    return type(mutation).__name__


def _recall(mutation: ClientMutation[T], stored: RequestRow) -> T:
    outcome = decode(stored.outcome, _Stored)
    if outcome.kind != _kind(mutation):
        raise UsageError(f"the request id was used for a {outcome.kind} before; make a new one for each request")
    return cast("T", decode(outcome.reply, cast("type[object]", mutation.reply_type)))
