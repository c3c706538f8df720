"""Choosing nodes: pure, from what is known and a source of randomness."""

from collections.abc import Callable, Iterable, Set
from random import Random

from dfs_master.membership import KnownNode
from dfs_wire.errors import NoSpaceError, TooFewNodesError
from dfs_wire.limits import GIB

#: After so many draws from a crowd somebody has to look at all of it.
DRAWS_MAX = 64
#: Of more nodes than this, so many are drawn and chosen from.
MANY_NODES = 256
SAMPLE_NODES = 64


def upload_reserve_bytes(capacity_bytes: int) -> int:
    """Uploads are refused below this much free space: min(5 %, 10 GiB)."""
    return min(capacity_bytes // 20, 10 * GIB)


def has_room(node: KnownNode, size: int) -> bool:
    """Whether an upload of `size` bytes may go there."""
    return node.takes_data and node.free_bytes - size >= upload_reserve_bytes(node.capacity_bytes)


def repair_reserve_bytes(capacity_bytes: int) -> int:
    """Repair leaves this much free, so that deletes always work: min(2 %, 4 GiB)."""
    return min(capacity_bytes // 50, 4 * GIB)


def has_room_for_repair(node: KnownNode, size: int) -> bool:
    """Whether a copy of a chunk that is stored already may go there: on a volume that is full for uploads, too."""
    return node.serves and node.free_bytes - size >= repair_reserve_bytes(node.capacity_bytes)


def choose(
    nodes: Iterable[KnownNode],
    count: int,
    size: int,
    *,
    holders: Set[int],
    excluded: Set[int],
    random: Random,
    room: Callable[[KnownNode, int], bool] = has_room,
) -> list[KnownNode]:
    """`count` nodes for new copies of a chunk of `size` bytes, first hop first. `room` says which may take it.

    Nodes with more free space are likelier, in proportion (weighted sampling without replacement, Efraimidis and
    Spirakis 2006, in its exponential form). Zones that hold no copy yet come before zones that do, nodes that come and
    go after all others. Of many nodes a sample is enough, unless all of them must be asked for a zone or for room.

    Raises:
        TooFewNodesError: fewer nodes can be reached than copies are missing.
        NoSpaceError: enough are there, but they are full.
    """
    everybody = list(nodes)
    if len(everybody) > MANY_NODES:
        few = _choose_among_few(everybody, count, size, holders=holders, excluded=excluded, random=random, room=room)
        if few is not None:
            return few
    return _choose(everybody, count, size, holders=holders, excluded=excluded, random=random, room=room)


def _choose_among_few(
    everybody: list[KnownNode],
    count: int,
    size: int,
    *,
    holders: Set[int],
    excluded: Set[int],
    random: Random,
    room: Callable[[KnownNode, int], bool],
) -> list[KnownNode] | None:
    """As `_choose`, among a sample of a large cluster; None where looking at all might find better ones."""
    sample = {each.id: each for each in random.choices(everybody, k=SAMPLE_NODES)}
    if holders:
        sample |= {each.id: each for each in everybody if each.id in holders}
    try:
        chosen = _choose(sample.values(), count, size, holders=holders, excluded=excluded, random=random, room=room)
    except (NoSpaceError, TooFewNodesError):
        return None
    held = {sample[each].zone for each in holders if each in sample}
    fresh = {each.zone for each in chosen} - held
    zones_left = {each.zone for each in everybody} - held
    if len(fresh) < min(count, len(zones_left)) or any(each.settling for each in chosen):
        return None
    return chosen


def _choose(
    nodes: Iterable[KnownNode],
    count: int,
    size: int,
    *,
    holders: Set[int],
    excluded: Set[int],
    random: Random,
    room: Callable[[KnownNode, int], bool],
) -> list[KnownNode]:
    everybody = list(nodes)
    present = [each for each in everybody if each.serves and each.id not in holders and each.id not in excluded]
    candidates = [each for each in present if room(each, size)]
    if len(candidates) < count:
        live = sum(each.takes_data for each in everybody)
        if len(present) >= count:
            raise NoSpaceError("the volumes are too full for this upload; add a node, or remove files")
        raise TooFewNodesError(
            f"{live} of {len(everybody)} nodes take data now, too few for {count + len(holders)} copies; "
            "start the others, add nodes, or set a policy with fewer copies",
            live=live,
            needed=count + len(holders),
        )
    order = sorted(candidates, key=lambda each: (each.settling, random.expovariate(max(1, each.free_bytes))))
    zones = {each.zone for each in everybody if each.id in holders}
    chosen: list[KnownNode] = []
    for _ in range(count):
        fresh = [each for each in order if each.zone not in zones and not each.settling]
        best = (fresh or order)[0]
        order.remove(best)
        zones.add(best.zone)
        chosen.append(best)
    return chosen


class Crowd:
    """Many nodes, drawn from instead of compared: what one copy costs does not grow with them. For one round.

    A draw that meets a node takes it with a chance that goes by its free space, so nodes are as likely as in `choose`.
    """

    def __init__(self, nodes: Iterable[KnownNode], random: Random) -> None:
        self._nodes = list(nodes)
        self._random = random.random
        self._most_free = max((each.free_bytes for each in self._nodes), default=0)
        self._zones = {each.zone for each in self._nodes}

    def draw(self, zones: Set[str], may: Callable[[KnownNode], bool]) -> KnownNode | None:
        """A node that `may` take the copy, in another zone than `zones` where one is met; None where chance finds none.

        Nodes that come and go are left to whoever looks at all.
        """
        nodes, chance, most_free = self._nodes, self._random, self._most_free
        is_any_zone = self._zones <= zones
        found: KnownNode | None = None
        for _ in range(DRAWS_MAX):
            node = nodes[int(chance() * len(nodes))]
            if chance() * most_free > node.free_bytes or node.settling or not may(node):
                continue
            if is_any_zone or node.zone not in zones:
                return node
            found = found or node
        return found
