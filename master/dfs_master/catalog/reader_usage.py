"""Sums over a tree, by one recursive statement."""

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import aliased

from dfs_master.catalog.models import Entry, Version
from dfs_master.catalog.rows import EntryRow
from dfs_master.catalog.statements import Statement
from dfs_wire.messages import EntryKind, UsageRow


def _usage() -> Statement:
    """One row for each direct child of a directory: its name and the sums over everything below it, itself included."""
    tree = (
        select(Entry.name.label("top"), Entry.id, Entry.kind, Entry.version_id)
        .where(Entry.parent_id == bindparam("id"))
        .cte("tree", recursive=True)
    )
    child = aliased(Entry)
    tree = tree.union_all(
        select(tree.c.top, child.id, child.kind, child.version_id).join(tree, child.parent_id == tree.c.id)
    )
    return Statement(
        select(
            tree.c.top,
            func.sum(case((tree.c.kind == EntryKind.FILE, 1), else_=0)),
            func.sum(case((tree.c.kind == EntryKind.DIRECTORY, 1), else_=0)),
            func.coalesce(func.sum(Version.size), 0),
        )
        .select_from(tree)
        .outerjoin(Version, Version.id == tree.c.version_id)
        .group_by(tree.c.top)
        .order_by(tree.c.top)
    )


USAGE = _usage()
SIZE = Statement(select(Version.size).where(Version.id == bindparam("id")))


def disk_usage(cursor: DBAPICursor, path: str, found: EntryRow) -> list[UsageRow]:
    """The tree at `path` first, then its direct children by name; a file is one row."""
    if found.version_id is not None:
        row = SIZE.one(cursor, id=found.version_id)
        return [UsageRow(path, 1, 0, row[0] if row else 0)]
    prefix = path if path.endswith("/") else path + "/"
    children = [UsageRow(prefix + top, *sums) for top, *sums in USAGE.all(cursor, id=found.id)]
    whole = UsageRow(
        path,
        sum(child.files for child in children),
        1 + sum(child.directories for child in children),
        sum(child.size for child in children),
    )
    return [whole, *children]
