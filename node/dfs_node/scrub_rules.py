"""How fast a node reads its own chunks, and what it remembers of that. Pure: no clock, no disk."""

import math
from dataclasses import dataclass

import msgspec

from dfs_wire.limits import DIGEST_BYTES, KIB, MIB

#: What opening a chunk costs beside its bytes, against the upper bound: seeks count too where chunks are small.
CHUNK_COST_BYTES = 64 * KIB
#: A pass aims at this share of its time, so that a pause here and there does not make it late.
_AIM = 0.9
#: A pass that is late hurries, but never as if it had less than this share of its time left.
_HURRY = 0.05


@dataclass(frozen=True, slots=True)
class ScrubRules:
    """What the master's settings say: a full pass in `seconds`, never faster than `bytes_per_second`."""

    seconds: int = 30 * 86_400
    bytes_per_second: int = 32 * MIB


class ScrubState(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives a restart. Times in milliseconds since 1970; 0 is never.

    `after` is the digest that was read last, empty at the beginning of a pass. `hurried`: an operator asked for it.
    """

    format: int = 1
    after: bytes = b""
    started_at_ms: int = 0
    ended_at_ms: int = 0
    under_way: bool = False
    hurried: bool = False
    chunks: int = 0
    bytes: int = 0
    bad: int = 0

    @property
    def permille(self) -> int:
        """How far the pass is: digests are spread evenly, so the last one tells."""
        return int.from_bytes(self.after[:2].ljust(2, b"\0"), "big") * 1000 // 65_536 if self.under_way else 0


def is_due(state: ScrubState, rules: ScrubRules, now_ms: int) -> bool:
    """Whether the next pass begins now. A clock that was set back does not put it off for ever."""
    return not 0 <= now_ms - state.started_at_ms < rules.seconds * 1000


def trickle(state: ScrubState, rules: ScrubRules, used_bytes: int, now_ms: int) -> float:
    """Bytes a second with which the pass just ends in its time: a steady trickle disturbs least."""
    if state.hurried:
        return math.inf
    left_bytes = used_bytes * (1000 - state.permille) / 1000 + MIB
    aim_ms = rules.seconds * 1000 * _AIM
    left_ms = max(aim_ms - max(0, now_ms - state.started_at_ms), aim_ms * _HURRY)
    return left_bytes * 1000 / left_ms


def pause_seconds(size: int, trickle_bytes_per_second: float, rules: ScrubRules) -> float:
    """How long after the beginning of one chunk the next one may begin."""
    return max(size / trickle_bytes_per_second, (size + CHUNK_COST_BYTES) / rules.bytes_per_second)


def first_of(prefix: int) -> bytes:
    """The least digest that begins with a byte."""
    return bytes([prefix]) + bytes(DIGEST_BYTES - 1)
