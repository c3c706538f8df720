"""What the store holds at and below a path, as commands ask for it."""

from typing import TYPE_CHECKING

from dfs_client.remote_paths import ROOT, relative_to
from dfs_wire.errors import NotFoundError
from dfs_wire.messages import Entry, EntryKind

if TYPE_CHECKING:
    from dfs_client.api import Dfs


def remote_kind(dfs: "Dfs", path: str) -> EntryKind | None:
    """What stands at a path, None for nothing. The root needs no question."""
    if path == ROOT:
        return EntryKind.DIRECTORY
    try:
        return dfs.stat(path).entry.kind
    except NotFoundError:
        return None


def entries_below(dfs: "Dfs", root: str) -> list[tuple[str, Entry]]:
    """Everything below a directory, parents first, each with its path relative to it; the directory itself not."""
    found = ((relative_to(entry.path, root), entry) for entry in dfs.walk(root))
    return [(relative, entry) for relative, entry in found if relative]
