"""What a fork copies, and two processes must not share: connections, locks, threads, secrets.

Whoever keeps such a thing registers once, and in a child puts its copy aside before anything else runs there. The
parent is not told: it goes on with all of it.
"""

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Keeps something that a child must not use."""

    def after_fork(self) -> None:
        """In the child: make new what cannot be shared. Waits for nothing: the other threads are not there any more,
        so a lock that one of them held stays locked for ever.
        """
        ...


_registered: "weakref.WeakSet[Forked]" = weakref.WeakSet()


def register(keeper: Forked) -> None:
    """Call `keeper.after_fork` in every child of this process, as long as the object lives."""
    _registered.add(keeper)


def _in_child() -> None:
    for keeper in list(_registered):
        keeper.after_fork()


os.register_at_fork(after_in_child=_in_child)
