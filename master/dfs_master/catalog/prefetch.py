"""What the requests of a group will look up, read in few statements before the first of them is judged.

It only spares statements: whatever is not read here is read when a request asks for it, and means the same.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from dfs_master.catalog.models import ROOT_ENTRY_ID
from dfs_master.catalog.mutations.base import ClientMutation, Mutation
from dfs_master.catalog.staged_tree import StagedTree
from dfs_master.catalog.staging import Staging
from dfs_wire.limits import NAME_BYTES_MAX, REQUEST_ID_BYTES

#: Smaller groups have too little to look up: one statement of several keys costs about four of one key.
_ROWS_MIN = 128


def prefetch(staging: Staging, group: Sequence[Mutation[Any]]) -> None:
    """Read names, chunks and request ids of all requests together, where they are many."""
    if sum(each.row_count() for each in group) < _ROWS_MIN:
        return
    ids = [each.request_id for each in group if isinstance(each, ClientMutation)]
    staging.read_requests([each for each in ids if len(each) == REQUEST_ID_BYTES])
    reads = [each.will_read() for each in group]
    staging.content.read_chunks(dict.fromkeys(digest for read in reads for digest in read.digests))
    names_of: dict[str, list[str]] = {}
    for read in reads:
        for path in read.paths:
            if _is_plain(path):
                directory, _, name = path.rpartition("/")
                names_of.setdefault(directory, []).append(name)
    for directory, names in names_of.items():
        if len(names) > 1 and (parent_id := _directory(staging.tree, directory.split("/")[1:])):
            staging.tree.read_names(parent_id, names)


def _is_plain(path: str) -> bool:
    """The usual path, in its one form. Everything else is judged where it is used."""
    return len(path) <= NAME_BYTES_MAX and path.isascii() and path.startswith("/") and "//" not in path


def _directory(tree: StagedTree, names: Iterable[str]) -> int:
    """The id of a directory; 0 where there is none."""
    parent_id = ROOT_ENTRY_ID
    for name in names:
        entry = tree.child(parent_id, name)
        if entry is None or entry.version_id is not None:
            return 0
        parent_id = entry.id
    return parent_id
