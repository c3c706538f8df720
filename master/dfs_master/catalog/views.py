"""Views for people and their SQL tools: `SELECT * FROM file_replicas` needs no knowledge of the tables.

Programs do not read them, except `db show`. Digests are hex text, times RFC 3339 in UTC, nodes go by their names.
Migrations drop them first and create them last, so that no table waits for a view.
"""

from functools import cache

from sqlalchemy import (
    CTE,
    Connection,
    CreateView,
    Select,
    TableClause,
    Text,
    func,
    inspect,
    literal,
    select,
)
from sqlalchemy.orm import aliased

from dfs_master.catalog import fresh
from dfs_master.catalog.dialect import DIALECT, HexText, OctalText, UtcText
from dfs_master.catalog.models import (
    LOST_STATES,
    ROOT_ENTRY_ID,
    Chunk,
    Entry,
    Event,
    Extent,
    Node,
    NodeState,
    Replica,
    ReplicaState,
    Version,
)

#: Copies on nodes in these states count.
COUNTED_STATES = (NodeState.LIVE, NodeState.DRAINING, NodeState.MAINTENANCE)

_MS_NS = 1_000_000


def _tree() -> CTE:
    """Every entry that a name leads to, with its path; the root's is empty. Removed trees are not in it."""
    root = select(Entry.id, Entry.version_id, literal("", Text, literal_execute=True).label("path")).where(
        Entry.id == ROOT_ENTRY_ID
    )
    tree = root.cte("tree", recursive=True)
    child = aliased(Entry)
    return tree.union_all(
        select(child.id, child.version_id, tree.c.path + "/" + child.name).join(tree, child.parent_id == tree.c.id)
    )


def _file_replicas() -> Select[*tuple[object, ...]]:
    tree = _tree()
    return (
        select(
            tree.c.path,
            Version.size,
            Extent.ordinal,
            HexText(Chunk.digest).label("digest"),
            Extent.offset,
            Extent.length,
            Node.name.label("node"),
            Node.address,
            Replica.state,
        )
        .select_from(tree)
        .join(Version, Version.id == tree.c.version_id)
        .join(Extent, Extent.version_id == Version.id)
        .join(Chunk, Chunk.id == Extent.chunk_id)
        .join(Replica, Replica.chunk_id == Chunk.id)
        .join(Node, Node.id == Replica.node_id)
    )


def _files() -> Select[*tuple[object, ...]]:
    tree = _tree()
    return (
        select(
            func.coalesce(func.nullif(tree.c.path, ""), "/").label("path"),
            Entry.kind,
            func.coalesce(Version.size, 0).label("size"),
            func.nullif(HexText(Version.digest), "").label("digest"),
            UtcText(func.coalesce(Version.mtime_ns, Entry.mtime_ns) // _MS_NS).label("mtime"),
            OctalText(func.coalesce(Version.mode, Entry.mode)).label("mode"),
            Version.id.label("version"),
        )
        .select_from(tree)
        .join(Entry, Entry.id == tree.c.id)
        .outerjoin(Version, Version.id == tree.c.version_id)
    )


def _node_usage() -> Select[*tuple[object, ...]]:
    good = Replica.state == ReplicaState.GOOD
    return (
        select(
            Node.name.label("node"),
            Node.address,
            Node.state,
            Node.volume_state,
            Node.zone,
            Node.capacity_bytes,
            Node.used_bytes,
            func.count(Chunk.id).filter(good).label("chunks"),
            func.coalesce(func.sum(Chunk.size).filter(good), 0).label("bytes_of_chunks"),
            func.count(Chunk.id).filter(Replica.state.in_(LOST_STATES)).label("lost_or_bad"),
            UtcText(Node.last_seen_at).label("last_seen_at"),
            UtcText(Node.registered_at).label("registered_at"),
        )
        .select_from(Node)
        .outerjoin(Replica, Replica.node_id == Node.id)
        .outerjoin(Chunk, Chunk.id == Replica.chunk_id)
        .group_by(Node.id)
    )


def _under_replicated() -> Select[*tuple[object, ...]]:
    copies = (
        select(func.count())
        .select_from(Replica)
        .join(Node, Node.id == Replica.node_id)
        .where(Replica.chunk_id == Chunk.id, Replica.state == ReplicaState.GOOD, Node.state.in_(COUNTED_STATES))
        .scalar_subquery()
    )
    return select(
        HexText(Chunk.digest).label("digest"), Chunk.size, Chunk.copies_wanted, copies.label("copies_good")
    ).where(copies < Chunk.copies_wanted)


def _events_readable() -> Select[*tuple[object, ...]]:
    return select(UtcText(Event.at).label("at"), Event.kind, Event.subject, Event.detail, Event.id)


@cache
def _views() -> dict[str, CreateView]:
    selects = {
        "file_replicas": _file_replicas(),
        "files": _files(),
        "node_usage": _node_usage(),
        "under_replicated": _under_replicated(),
        "events_readable": _events_readable(),
    }
    return {name: CreateView(query, name) for name, query in selects.items()}


def table(name: str) -> TableClause:
    """A view as something to select from."""
    return _views()[name].table


def names() -> tuple[str, ...]:
    """All views, by name."""
    return tuple(_views())


def definitions() -> dict[str, str]:
    """The statements that make the views, by name: what `schema.sql` must say, which a test compares."""
    return {name: str(view.compile(dialect=DIALECT)) for name, view in _views().items()}


def create(connection: Connection) -> None:
    """Create every view, from `schema.sql`. None may exist."""
    for statement in fresh.views().values():
        connection.exec_driver_sql(statement)


def drop(connection: Connection) -> None:
    """Drop every view of the database, also those that this program no longer knows."""
    for name in inspect(connection).get_view_names():
        connection.exec_driver_sql(f"DROP VIEW {DIALECT.identifier_preparer.quote(name)}")


def are_current(connection: Connection) -> bool:
    """Whether the database's views are exactly those of this program."""
    inspector = inspect(connection)
    found = {name: inspector.get_view_definition(name) for name in inspector.get_view_names()}
    # By their text in `schema.sql`: to compile them anew took each start of a master 30 ms.
    wanted = fresh.views()
    return found.keys() == wanted.keys() and all(_words(found[name]) == _words(wanted[name]) for name in wanted)


def _words(sql: str | None) -> list[str]:
    return (sql or "").split()
