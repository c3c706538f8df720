"""When copies that were found bad are looked at again, because their chunk has no other. No I/O.

A disk that was away for a moment says the same as one that is damaged: that its files cannot be read. Where another
copy is there, a new one is made of that; where none is, to look again is all that can be done.
"""

FIRST_PAUSE_SECONDS = 10.0
#: Looking at what is damaged for good must not cost anything worth mention: a chunk of 8 MiB in an hour.
PAUSE_SECONDS_MAX = 3_600.0


class SecondLooks:
    """Chunks by id, and when each is due. Used by one thread; times are monotonic, in seconds."""

    def __init__(self) -> None:
        #: Chunk -> its next look, and the pause behind that one.
        self._next: dict[int, tuple[float, float]] = {}

    def is_due(self, chunk_id: int, now: float) -> bool:
        """Whether to look now: at once the first time, then after pauses of which each is twice the last one."""
        due_at, pause = self._next.get(chunk_id, (now, FIRST_PAUSE_SECONDS))
        if now < due_at:
            return False
        self._next[chunk_id] = (now + pause, min(2 * pause, PAUSE_SECONDS_MAX))
        return True

    def forget(self, chunk_id: int) -> None:
        """It has a good copy again, or is gone."""
        self._next.pop(chunk_id, None)

    def clear(self) -> None:
        """A node came back: everything is due."""
        self._next.clear()
