"""The chunks that lack copies, as far as the repairer has looked: riskiest first, counted along. No I/O."""

from collections import defaultdict
from typing import NamedTuple

#: What is known of more chunks than this is forgotten again, the safest first, and found again later.
ENTRIES_MAX = 200_000


class Lacking(NamedTuple):
    """A chunk's copies that are left, its size, and how many copies are missing."""

    left: int
    size: int
    lacking: int


class Worklist:
    """Chunks by id. Used by one thread."""

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._entries: dict[int, Lacking] = {}
        #: The order of work: copies left -> chunk ids in the order in which they were found.
        self._waiting: defaultdict[int, dict[int, None]] = defaultdict(dict)
        #: Those that could not be helped, until when (monotonic time).
        self._parked: dict[int, float] = {}
        self._bytes = 0
        #: Something was forgotten: a look at everything is needed again.
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes_left(self) -> int:
        """Bytes of all copies that are missing."""
        return self._bytes

    @property
    def waits(self) -> bool:
        """Whether a chunk is there to be taken."""
        return any(self._waiting.values())

    def put(self, chunk_id: int, lacking: Lacking) -> None:
        """Learn how a chunk stands. One that is taken or parked stays so."""
        before = self._entries.get(chunk_id)
        if before is not None:
            self._bytes += lacking.size * lacking.lacking - before.size * before.lacking
            self._entries[chunk_id] = lacking
            if chunk_id in self._waiting[before.left]:
                del self._waiting[before.left][chunk_id]
                self._waiting[lacking.left][chunk_id] = None
            return
        if len(self._entries) >= self._entries_max and not self._forget_safer_than(lacking.left):
            self.overflowed = True
            return
        self._entries[chunk_id] = lacking
        self._bytes += lacking.size * lacking.lacking
        self._waiting[lacking.left][chunk_id] = None

    def take(self, count: int) -> list[int]:
        """The riskiest chunks that wait, at most `count`; each is the caller's until it is dropped or given back."""
        taken: list[int] = []
        for left in sorted(self._waiting):
            bucket = self._waiting[left]
            while bucket and len(taken) < count:
                chunk_id = next(iter(bucket))
                del bucket[chunk_id]
                taken.append(chunk_id)
        return taken

    def give_back(self, chunk_id: int) -> None:
        """It still waits."""
        entry = self._entries.get(chunk_id)
        if entry is not None:
            self._parked.pop(chunk_id, None)
            self._waiting[entry.left][chunk_id] = None

    def park(self, chunk_id: int, until: float) -> None:
        """Nothing can be done for it now."""
        if chunk_id in self._entries:
            self._parked[chunk_id] = until

    def unpark(self, now: float) -> None:
        """Those whose time has come wait again."""
        for chunk_id in [each for each, until in self._parked.items() if until <= now]:
            self.give_back(chunk_id)

    def drop(self, chunk_id: int) -> None:
        """It lacks nothing any more, or is gone."""
        entry = self._entries.pop(chunk_id, None)
        if entry is not None:
            self._bytes -= entry.size * entry.lacking
            self._waiting[entry.left].pop(chunk_id, None)
            self._parked.pop(chunk_id, None)

    @property
    def parked(self) -> int:
        """How many cannot be helped now."""
        return len(self._parked)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._waiting.clear()
        self._parked.clear()
        self._bytes = 0
        self.overflowed = False

    def _forget_safer_than(self, left: int) -> bool:
        """Make room by forgetting a chunk with more copies left; False where there is none."""
        for safest in sorted((each for each, bucket in self._waiting.items() if bucket), reverse=True):
            if safest <= left:
                return False
            self.drop(next(reversed(self._waiting[safest])))
            self.overflowed = True
            return True
        return False
