"""Why the master mends and collects nothing for now: it was just started, or it is behind its own nodes.

After a start, nodes that are only late look like nodes that are lost, and chunks of theirs like chunks to copy.
So repair, rebalance and collection wait until the nodes were heard. A registration counts as heard, not an inventory:
it proves that the volume is there, and what a volume lost is found by its inventory and judged by the node itself.
"""

import threading
from collections.abc import Iterable, Mapping, Set

#: The copies that must be on nodes which were heard, of all copies on nodes that were there before the start.
HEARD_SHARE = 0.999


def reason_to_leave(
    copies: Mapping[int, int], expected: Set[int], heard: Set[int], waited_seconds: float, limit_seconds: float
) -> str | None:
    """Why a master that has waited so long need not wait any more, or None. Pure.

    `expected` are the nodes that were not dead when the master started, `copies` the good copies on each of them.
    """
    if expected <= heard:
        return "all nodes are back"
    total = sum(copies.get(node, 0) for node in expected)
    back = sum(copies.get(node, 0) for node in expected & heard)
    if total and back >= total * HEARD_SHARE:
        return f"{back} of {total} copies are on nodes that are back"
    if waited_seconds >= limit_seconds:
        return f"waited {limit_seconds:.0f} s for the other nodes"
    return None


class SafeMode:
    """Whether healing must wait. `active` is asked at the start of each step that repairs, moves or collects.

    Safe to use from several threads.
    """

    def __init__(
        self, expected: Iterable[int] = (), copies: Mapping[int, int] | None = None, *, started_at: float = 0.0
    ) -> None:
        self._lock = threading.Lock()
        self._expected = frozenset(expected)
        self._copies = dict(copies or {})
        self._started_at = started_at
        self._waiting = bool(self._expected)
        self._forced = False
        self._held = ""

    @property
    def active(self) -> bool:
        """Whether nothing may be repaired, moved or collected now."""
        with self._lock:
            return self._waiting or bool(self._held)

    @property
    def waiting(self) -> bool:
        """Whether this is the wait for nodes after a start."""
        with self._lock:
            return self._waiting

    @property
    def held(self) -> str:
        """Why the master is read-only, or nothing."""
        with self._lock:
            return self._held

    def missing(self, heard: Set[int]) -> frozenset[int]:
        """The nodes that are waited for; none when the wait is over."""
        with self._lock:
            return self._expected - heard if self._waiting else frozenset()

    def force(self) -> None:
        """An operator says that the other nodes need not be waited for. What holds the master read-only stays."""
        with self._lock:
            self._forced = True

    def hold(self, why: str) -> None:
        """Mend and collect nothing until `release`, however long that takes."""
        with self._lock:
            self._held = why

    def release(self) -> None:
        """The operator has decided about what held it."""
        with self._lock:
            self._held = ""

    def step(self, heard: Set[int], now: float, limit_seconds: float) -> str | None:
        """Look whether the wait is over; says why, the one time that it ends. `now` is monotonic."""
        with self._lock:
            if not self._waiting:
                return None
            reason = (
                "forced by an operator"
                if self._forced
                else reason_to_leave(self._copies, self._expected, heard, now - self._started_at, limit_seconds)
            )
            self._waiting = reason is None
            return reason
