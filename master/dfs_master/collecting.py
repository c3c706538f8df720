"""What is collected, and when: pure rules, apart from the tables (`catalog/mutations/collecting.py`) and the threads
(`collector.py`).

A byte goes in four steps, each of them on record before the next:

1. A version that was replaced or removed stays readable for its grace, then its rows go.
2. A chunk that no extent refers to any more waits out a grace of its own: reads under way end, a plan that called it
   stored is committed.
3. The committer records the chunk and its replicas as `deleting`, with a new generation. From here on only receipts
   of a newer generation count for it.
4. Nodes are ordered to delete what is of that generation or older. A confirmed replica is `deleted`, and is remembered
   until every receipt that could vouch for the file has expired.

**Files that the catalog does not know** take the same way from step 3 on. Whoever compares an inventory with the
catalog asks `judge_file` about each file that the node has and hands those that are `ORPHAN` to the mutation
`CollectOrphans(node_id, generation, orphans)` with a generation that is taken from `cluster.generations` after the
inventory was received. The mutation judges again by what is on record by then; the orders follow by themselves.
"""

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import NamedTuple

from dfs_master.catalog.collect_rows import TrimCandidate
from dfs_master.catalog.models import GOING_STATES, ChunkState, ReplicaState
from dfs_master.catalog.rows import ChunkRow, ReplicaRow
from dfs_master.healing_rules import which_copy_goes
from dfs_master.membership import KnownNode
from dfs_wire.limits import ORPHAN_SECONDS, TICKET_SECONDS

#: Reads that began with a ticket end within this time.
READ_SECONDS = TICKET_SECONDS + 60
#: How long a confirmed deletion is remembered: longer than any receipt of before is believed.
REMEMBER_SECONDS = ORPHAN_SECONDS

_GOING = frozenset(state.value for state in GOING_STATES)


def version_grace_seconds(setting: float, *, any_volume_full: bool) -> float:
    """How long a version stays readable after it was replaced or removed.

    With a full volume space is needed more than the past: only reads under way are waited for.
    """
    return min(setting, READ_SECONDS) if any_volume_full else setting


class Orphan(NamedTuple):
    """A file on a node, as the node's inventory lists it."""

    digest: bytes
    size: int
    generation: int


class Verdict(Enum):
    """What becomes of a file that a node has."""

    #: It is the copy on record.
    KNOWN = auto()
    #: Nobody knows it, but it is young: a commit may follow. Or its deletion is under way.
    WAIT = auto()
    #: The chunk needs it: have the node verify it, and it becomes a copy.
    ADOPT = auto()
    #: Nobody needs it, and it waited long enough.
    ORPHAN = auto()


def judge_file(
    generation: int,
    age_seconds: float,
    chunk: ChunkRow | None,
    replica: ReplicaRow | None,
    *,
    staying: int,
    orphan_seconds: float,
) -> Verdict:
    """What becomes of a file of this generation that was stored so long ago.

    `chunk` and `replica` are what is on record of it, None where nothing is; `staying` counts the chunk's verified
    copies on other nodes that serve and are to stay.
    """
    if replica is not None and replica.state not in _GOING:
        return Verdict.KNOWN
    given_up = replica is not None and generation <= replica.generation
    if replica is not None and replica.state == ReplicaState.DELETING and given_up:
        return Verdict.WAIT
    if chunk is not None and chunk.state == ChunkState.STORED and staying < chunk.copies_wanted and not given_up:
        return Verdict.ADOPT
    return Verdict.ORPHAN if age_seconds >= orphan_seconds else Verdict.WAIT


class Standing(NamedTuple):
    """One copy as trimming sees it. `counts`: verified, on a node that serves, is to stay, and answers for it."""

    node_id: int
    counts: bool


def copies_to_trim(chunks: Iterable[TrimCandidate], nodes: Mapping[int, KnownNode]) -> list[tuple[bytes, int]]:
    """Digest and node of the copies that are too many."""
    return [
        (chunk.digest, node_id)
        for chunk in chunks
        for node_id in which_copy_goes(relied_on(chunk, nodes), chunk.copies_wanted, nodes)
    ]


def lost_to_trim(
    node_id: int, chunks: Iterable[TrimCandidate], nodes: Mapping[int, KnownNode]
) -> list[tuple[bytes, int]]:
    """Digest and node of a node's lost or damaged copies that others have replaced."""
    return [(chunk.digest, node_id) for chunk in chunks if len(relied_on(chunk, nodes)) >= max(1, chunk.copies_wanted)]


def relied_on(chunk: TrimCandidate, nodes: Mapping[int, KnownNode]) -> frozenset[int]:
    """The nodes whose copy is a reason to give up another: they stay, and answer for it since they took up service."""
    return frozenset(
        node_id
        for node_id, verified_at in chunk.good.items()
        if node_id in nodes and nodes[node_id].stays and nodes[node_id].vouches(chunk.digest, verified_at)
    )


def may_go(copies: Iterable[Standing], node_id: int, wanted: int) -> bool:
    """Whether a chunk that is referred to may lose its copy on a node: enough others count, and one at the least."""
    others = sum(copy.counts for copy in copies if copy.node_id != node_id)
    return others >= max(1, wanted)
