"""Whether a process that registers as a node is that node, or one that runs on a copy of its volume.

A node that was cut off or killed comes back while the master still thinks that its old connection lives. So does a copy
of its volume. The difference: the holder of the identity goes on heartbeating in one case only. The same process is
known by its instance and let in at once; another one is refused for now, and for good when the holder was heard twice
since: once may be what was still on its way in a connection that is closed.
"""

import threading
from dataclasses import dataclass
from enum import Enum, auto

#: Heartbeats of the holder, after a contender was first refused, that prove two live volumes.
PROOF_BEATS = 2
#: A contender that was not seen for so long is forgotten.
FORGET_SECONDS = 60.0
_CONTENDERS_MAX = 1_024


class Verdict(Enum):
    """What to do with a registration."""

    #: Nobody else holds the identity, or it is the same process.
    ADMIT = auto()
    #: Somebody may hold it: try again.
    WAIT = auto()
    #: Somebody does: this is a second volume.
    TWIN = auto()


@dataclass(slots=True)
class _Contender:
    seen_at: float
    beats: int = 0


class Twins:
    """Who holds and who contends for each node's identity. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders: dict[int, bytes] = {}
        self._contenders: dict[tuple[int, bytes], _Contender] = {}

    def judge(self, node_id: int, instance: bytes, *, held: bool, lately: bool, now: float) -> Verdict:
        """A process asks for an identity. `held`: a connection speaks for it and was heard lately; `lately`: some
        connection was, though it may be closed now. `now` is monotonic.
        """
        with self._lock:
            known = instance and self._holders.get(node_id) == instance
            contender = self._contenders.get((node_id, instance))
            if contender is not None and contender.beats >= PROOF_BEATS and (held or lately):
                contender.seen_at = now
                return Verdict.TWIN
            # A contender that was refused once waits longer than the holder takes to come back.
            if known or not (held or (lately and contender is not None)):
                return Verdict.ADMIT
            self._refused(node_id, instance, now)
            return Verdict.WAIT

    def _refused(self, node_id: int, instance: bytes, now: float) -> None:
        old = [key for key, each in self._contenders.items() if now - each.seen_at > FORGET_SECONDS]
        for key in old:
            del self._contenders[key]
        if len(self._contenders) < _CONTENDERS_MAX:
            self._contenders.setdefault((node_id, instance), _Contender(now)).seen_at = now

    def is_holder(self, node_id: int, instance: bytes) -> bool:
        """Whether this very process took up service as the node before."""
        with self._lock:
            return bool(instance) and self._holders.get(node_id) == instance

    def registered(self, node_id: int, instance: bytes) -> None:
        """A process took up service."""
        with self._lock:
            self._holders[node_id] = instance
            self._contenders = {key: each for key, each in self._contenders.items() if key[0] != node_id}

    def beat(self, node_id: int) -> None:
        """The holder was heard."""
        with self._lock:
            for (contended, _), each in self._contenders.items():
                if contended == node_id:
                    each.beats += 1
