"""Numbers that order everything ever written: the epoch above, a counter below."""

import itertools

#: 2^40 tickets an epoch, 2^23 epochs: together a positive 64-bit number, as SQLite stores.
COUNTER_BITS = 40


class Generations:
    """Gives rising generations within one epoch. Safe to use from several threads (one atomic `next`)."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._counter = _numbers_of(epoch)

    @property
    def epoch(self) -> int:
        """The epoch that they belong to."""
        return self._epoch

    def next(self) -> int:
        """A generation above all that this epoch and the epochs before gave."""
        return next(self._counter)

    def raise_to(self, epoch: int) -> None:
        """Go on in a later epoch."""
        self._counter = _numbers_of(epoch)
        self._epoch = epoch


def _numbers_of(epoch: int) -> "itertools.count[int]":
    return itertools.count((epoch << COUNTER_BITS) + 1)
