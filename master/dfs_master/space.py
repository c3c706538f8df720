"""What the bytes of a cluster are there for, as `dfs df` shows them: pure sums over what the catalog and nodes say."""

from collections import Counter
from collections.abc import Iterable, Mapping

from dfs_master.catalog.collect_rows import TrimCandidate
from dfs_master.catalog.collect_space import NodeBytes, Pending
from dfs_master.healing_rules import which_copy_goes
from dfs_master.membership import KnownNode
from dfs_master.placement import upload_reserve_bytes
from dfs_wire.messages import NodeSpace


def surplus_bytes(chunks: Iterable[TrimCandidate], nodes: Mapping[int, KnownNode]) -> Counter[int]:
    """Bytes of the copies that are too many, by node."""
    found: Counter[int] = Counter()
    for chunk in chunks:
        for node_id in which_copy_goes(chunk.good.keys(), chunk.copies_wanted, nodes):
            found[node_id] += chunk.size
    return found


def node_space(node: KnownNode, on_record: NodeBytes | None, surplus: int, orphan: int | None) -> NodeSpace:
    """One node's bytes, split. `orphan` is what its last inventory found, None where there was none yet.

    Live is what is left of the good copies; the rest of what the volume uses is on no record: headers, uploads that
    no commit followed yet, or files that nobody knows, which the inventory counts.
    """
    held, waiting, bad = (0, 0, 0) if on_record is None else on_record[1:]
    reserve = min(node.free_bytes, upload_reserve_bytes(node.capacity_bytes))
    return NodeSpace(
        node_id=node.id,
        name=node.name,
        state=node.state,
        filesystem_id=node.filesystem_id,
        capacity_bytes=node.capacity_bytes,
        used_bytes=node.used_bytes,
        live_bytes=max(0, held - surplus),
        surplus_bytes=surplus + bad,
        waiting_bytes=waiting,
        orphan_bytes=-1 if orphan is None else orphan,
        reserve_bytes=reserve,
        free_bytes=max(0, node.free_bytes - reserve),
    )


def first_free_at_ms(pending: Pending, version_grace_seconds: float, chunk_grace_seconds: float, now_ms: int) -> int:
    """When the first bytes that wait become free, in milliseconds since 1970; 0 where nothing waits."""
    grace_ms, chunk_ms = int(version_grace_seconds * 1000), int(chunk_grace_seconds * 1000)
    times = []
    if pending.deleting:
        times.append(now_ms)
    if pending.unreferenced_since is not None:
        times.append(pending.unreferenced_since + chunk_ms)
    if pending.version_removed_at is not None:
        times.append(pending.version_removed_at + grace_ms + chunk_ms)
    return max(now_ms, min(times)) if times else 0
