"""What a node makes of what its master says, or of silence. Pure: no clock, no network, no disk."""

from dataclasses import dataclass
from enum import Enum, auto

from dfs_wire.errors import ConflictError, DfsError, NotAllowedError, NotFoundError, UsageError, VolumeForeignError
from dfs_wire.limits import BUSY_HEARTBEAT_SECONDS, SUSPECT_SECONDS
from dfs_wire.messages import HeartbeatReply

BACKOFF_SECONDS_MIN = 0.2
BACKOFF_SECONDS_MAX = 3.0
#: So many tries come quickly: a master that starts together with its nodes is there within two or three seconds.
BACKOFF_QUICK_TRIES = 16
#: After a broken connection or a crash the master may think for a while that the old process lives.
GHOST_SECONDS = 2 * SUSPECT_SECONDS

#: Refusals that trying again cannot change.
_FINAL = (NotAllowedError, ConflictError, NotFoundError, UsageError, VolumeForeignError)


def backoff_seconds(failures: int, jitter: float) -> float:
    """How long to wait after that many failures in a row; `jitter` is from 0 to 1 and spreads a herd of nodes."""
    doubled = BACKOFF_SECONDS_MIN * float(1 << min(max(0, failures - BACKOFF_QUICK_TRIES), 10))
    return min(doubled, BACKOFF_SECONDS_MAX) * (0.5 + jitter / 2)


def ends_the_process(error: DfsError, trying_seconds: float) -> bool:
    """Whether a refused registration is the last word.

    `trying_seconds` is the time since this process started, or since it lost its last connection. A node that was
    cut off or killed is no second node: the master only has to notice that the old connection is gone. A copy of a
    volume whose original goes on living is refused for longer than that, and ends.
    """
    if isinstance(error, ConflictError) and error.details.get("passing"):
        return trying_seconds > GHOST_SECONDS
    return isinstance(error, _FINAL)


def next_beat_seconds(usual: float, asked: float) -> float:
    """When to heartbeat again, where the master asked for a time; 0: it did not. Nobody can ask for a storm of them."""
    return min(usual, max(asked, BUSY_HEARTBEAT_SECONDS)) if asked > 0 else usual


class Obey(Enum):
    """What to do with a heartbeat's orders."""

    #: They are of the epoch that this node obeys.
    NOW = auto()
    #: They are of a newer epoch: make it durable, then obey.
    AFTER_EPOCH = auto()
    #: They are of an older master: drop them.
    REFUSE = auto()


def judge_orders(reply: HeartbeatReply, highest_epoch: int) -> Obey:
    """Fence orders by epoch. Two masters may think that they rule; nodes follow the one that came last."""
    if reply.epoch < highest_epoch:
        return Obey.REFUSE
    return Obey.AFTER_EPOCH if reply.epoch > highest_epoch else Obey.NOW


@dataclass(frozen=True, slots=True)
class Heard:
    """The newest point of the metadata that this node knows of, which it reports to every master."""

    epoch: int
    commit_seq: int

    def and_now(self, epoch: int, commit_seq: int) -> "Heard":
        """With what a master says of itself now. Sequence numbers go on over epochs."""
        return Heard(max(self.epoch, epoch), max(self.commit_seq, commit_seq))
