"""Numbers that order everything ever written: the epoch above, a counter below."""

import itertools

#: 2^40 tickets an epoch, 2^23 epochs: together a positive 64-bit number, as SQLite stores.
COUNTER_BITS = 40


class Generations:
    """Gives rising generations within one epoch. Safe to use from several threads (one atomic `next`)."""

    def __init__(self, epoch: int) -> None:
        self._base = epoch << COUNTER_BITS
        self._counter = itertools.count(1)

    def next(self) -> int:
        """A generation above all that this epoch and the epochs before gave."""
        return self._base + next(self._counter)
