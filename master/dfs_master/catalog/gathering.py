"""How long a group waits for company. Pure: counts in, counts out.

A transaction costs much the same for one request as for eight. Clients that work in step, each with one request under
way, would fall into two halves that wait for one another, a transaction each; so those who were answered a moment ago
are waited for, a millisecond at most. Where they do not come back that soon, it is not tried again for a while.
"""

#: The longest wait for company.
GATHER_SECONDS = 0.001
#: A wait in vain is not repeated for 1, 2, 4 … groups, at most so many.
_PAUSE_MAX = 64


class Gathering:
    """Used by the committer's thread."""

    __slots__ = ("_failed", "_known", "_pause")

    def __init__(self) -> None:
        self._known = 0
        self._failed = 0
        self._pause = 0

    def wanted(self, waiting: int) -> int:
        """How many requests to wait for, where `waiting` are there: no more than that means not to wait."""
        if self._known <= waiting:
            return waiting
        if self._pause:
            self._pause -= 1
            return waiting
        return self._known

    def waited(self, before: int, after: int, wanted: int) -> None:
        """A wait for `wanted` is over: `before` grew to `after`."""
        if 2 * (after - before) >= wanted - before:
            self._failed = 0
        else:
            self._pause = min(_PAUSE_MAX, 1 << self._failed)
            self._failed = min(self._failed + 1, _PAUSE_MAX.bit_length())

    def answering(self, count: int, waiting: int) -> None:
        """A group of so many is about to be answered, while others wait: all of them are known to be there."""
        self._known = count + waiting
