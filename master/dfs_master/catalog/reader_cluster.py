"""Reads of the cluster's own records: nodes, keys, settings, and counts over everything."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, func, select, union
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import aliased

from dfs_master.catalog.models import (
    COPIES_DEFAULT,
    REMOVED_ENTRY_ID,
    Chunk,
    Credential,
    Entry,
    Event,
    Extent,
    Node,
    NodeState,
    Replica,
    ReplicaState,
    Setting,
    Version,
)
from dfs_master.catalog.rows import CredentialRow, NodeRow
from dfs_master.catalog.statements import Statement
from dfs_master.catalog.views import COUNTED_STATES

#: A read from nodes in these states may work.
READABLE_STATES = (NodeState.LIVE, NodeState.SUSPECT, NodeState.DRAINING, NodeState.MAINTENANCE)

NODES = Statement(select(*(getattr(Node, field) for field in NodeRow._fields)).order_by(Node.id))
CREDENTIALS = Statement(
    select(*(getattr(Credential, field) for field in CredentialRow._fields)).order_by(Credential.id)
)
SETTING = Statement(select(Setting.value).where(Setting.name == bindparam("name")))
SETTINGS = Statement(select(Setting.name, Setting.value))
COPIES_BY_NODE = Statement(
    select(Replica.node_id, func.count()).where(Replica.state == ReplicaState.GOOD).group_by(Replica.node_id)
)
_NEWEST = select(Event.id).order_by(Event.id.desc()).limit(bindparam("most")).subquery()
#: How many of the newest `most` events there are, and the oldest of them.
NEWEST_EVENTS = Statement(select(func.count(), func.min(_NEWEST.c.id)))


class Counts(NamedTuple):
    """Over current versions, except `under_replicated`: chunks with fewer counting copies than wanted."""

    files: int
    bytes: int
    under_replicated: int
    #: Files with a chunk that no reachable node holds.
    unreadable: int


def nodes(cursor: DBAPICursor) -> list[NodeRow]:
    """Every node by id."""
    return [NodeRow._make(row) for row in NODES.all(cursor)]


def surplus_event(cursor: DBAPICursor, kept: int) -> int:
    """The id of the newest event behind the newest `kept`; 0 where there are no more."""
    ((count, oldest),) = NEWEST_EVENTS.all(cursor, most=kept + 1)
    return int(oldest) if count > kept else 0


def copies_by_node(cursor: DBAPICursor) -> dict[int, int]:
    """Good copies on each node that has any."""
    return dict(COPIES_BY_NODE.all(cursor))


def credentials(cursor: DBAPICursor) -> list[CredentialRow]:
    """Every credential by id."""
    return [CredentialRow._make(row) for row in CREDENTIALS.all(cursor)]


def settings(cursor: DBAPICursor) -> dict[str, str]:
    """All named values, the master's own records among them."""
    return dict(SETTINGS.all(cursor))


def setting(cursor: DBAPICursor, name: str) -> str | None:
    """One setting, or None."""
    row = SETTING.one(cursor, name=name)
    return None if row is None else str(row[0])


def default_copies(cursor: DBAPICursor) -> int:
    """Copies wanted where no directory says otherwise."""
    return int(setting(cursor, "copies") or COPIES_DEFAULT)


def counts(cursor: DBAPICursor) -> Counts:
    """The four counts, all of the caller's snapshot."""
    files, size = CURRENT.all(cursor)[0]
    removed_files, removed_size = REMOVED.all(cursor)[0]
    ((short,),) = SHORT.all(cursor)
    ((shorter,),) = SHORT_BY_NODES.all(cursor)
    ((unreadable,),) = UNREADABLE.all(cursor)
    return Counts(files - removed_files, size - removed_size, short + shorter, unreadable)


# Trees that were removed keep their versions until the collector comes to them. There are few, so they are
# subtracted, instead of walking the whole tree for every count.
def _removed_versions() -> Select[tuple[int | None]]:
    tree = select(Entry.id, Entry.version_id).where(Entry.parent_id == REMOVED_ENTRY_ID).cte("removed", recursive=True)
    child = aliased(Entry)
    tree = tree.union_all(select(child.id, child.version_id).join(tree, child.parent_id == tree.c.id))
    return select(tree.c.version_id).where(tree.c.version_id.is_not(None))


def _sums(*where: ColumnElement[bool]) -> Statement:
    return Statement(select(func.count(), func.coalesce(func.sum(Version.size), 0)).where(*where))


def _good_on_nodes_not(states: tuple[NodeState, ...]) -> ColumnElement[bool]:
    """Good replicas on nodes in other states: no work at all while there are no such nodes."""
    away = select(Node.id).where(Node.state.not_in(states))
    return and_(Replica.node_id.in_(away), Replica.state == ReplicaState.GOOD)


_IS_CURRENT = Version.removed_at.is_(None)
CURRENT = _sums(_IS_CURRENT)
REMOVED = _sums(_IS_CURRENT, Version.id.in_(_removed_versions()))

# `copies_good` counts rows of `replicas` whatever their nodes do; where nodes are away, their rows are taken off.
_IS_SHORT = Chunk.copies_good < Chunk.copies_wanted
SHORT = Statement(select(func.count()).select_from(Chunk).where(_IS_SHORT))
_AWAY = (
    select(Replica.chunk_id, func.count().label("copies"))
    .where(_good_on_nodes_not(COUNTED_STATES))
    .group_by(Replica.chunk_id)
    .subquery()
)
SHORT_BY_NODES = Statement(
    select(func.count())
    .select_from(_AWAY)
    .join(Chunk, Chunk.id == _AWAY.c.chunk_id)
    .where(~_IS_SHORT, Chunk.copies_good - _AWAY.c.copies < Chunk.copies_wanted)
)


def _unreadable() -> Statement:
    other, other_node = aliased(Replica), aliased(Node)
    elsewhere = exists().where(
        other.chunk_id == Replica.chunk_id,
        other.state == ReplicaState.GOOD,
        other_node.id == other.node_id,
        other_node.state.in_(READABLE_STATES),
    )
    lost = union(
        select(Chunk.id).where(_IS_SHORT, Chunk.copies_good == 0),
        select(Replica.chunk_id).where(_good_on_nodes_not(READABLE_STATES), ~elsewhere),
    ).subquery()
    return Statement(
        select(func.count(Version.id.distinct()))
        .select_from(lost)
        .join(Extent, Extent.chunk_id == lost.c.id)
        .join(Version, and_(Version.id == Extent.version_id, _IS_CURRENT))
        .where(Version.id.not_in(_removed_versions()))
    )


UNREADABLE = _unreadable()
