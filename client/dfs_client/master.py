"""The master as the client sees it: one typed method a verb, and patience where a retry is safe."""

import random
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from dfs_client.backoff import Backoff
from dfs_runtime import forks
from dfs_runtime.clock import Clock, Deadline
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import decode, encode_list
from dfs_wire.errors import (
    BusyError,
    ConnectFailedError,
    DfsError,
    TimedOutError,
    UnavailableError,
    error_from_wire,
)
from dfs_wire.limits import CONNECT_SECONDS, REQUEST_ID_BYTES, RETRY_SECONDS
from dfs_wire.pool import ChannelPool

if TYPE_CHECKING:
    from logging import Logger

R = TypeVar("R", bound=m.Header)

#: Made once: a new alias is hashed and compared anew for each reply.
_OUTCOMES = list[m.Outcome]
_EXTENTS = list[m.OpenExtent]

#: Sent again until patience ends. Their subclasses (too few nodes, chunks missing, read-only) are answers.
_RETRIED: frozenset[type[DfsError]] = frozenset({UnavailableError, ConnectFailedError, TimedOutError, BusyError})


class MasterClient:
    """One cluster's master. Safe to use from several threads.

    Each call may raise any `DfsError` that the master answers with. A master that goes away is tried again for
    `retry_seconds`, under the same request id; one that was never reached, for `connect_seconds`.
    """

    def __init__(
        self,
        address: str,
        pool: ChannelPool,
        clock: Clock,
        randomness: random.Random,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.address = address
        self._pool = pool
        self._clock = clock
        self._random = randomness
        self._connect_seconds = connect_seconds
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._hello: m.HelloReply | None = None
        self._ahead_ms = 0
        forks.register(self)

    def after_fork(self) -> None:
        """In a child: nobody holds the lock, and chance goes another way, or both processes would make the same ids."""
        self._lock = threading.Lock()
        self._random.seed()

    def cluster_id(self) -> str:
        """The id of the cluster that answers at the address."""
        if self._hello is None:
            self.ping()
        hello = self._hello
        if hello is None:
            raise ConnectFailedError(f"the master at {self.address} did not say hello; try again")
        return hello.cluster_id

    def now_ms(self) -> int:
        """The master's time, as far as its first Hello tells: expiry is judged in it."""
        return self._clock.wall_ms() + self._ahead_ms

    def request_id(self) -> bytes:
        """A fresh id for one mutation: its repeats carry the same, another try after an answer a new one.

        The time in front lets ids of one moment lie together in the master's database; the rest, 80 bits by chance,
        tells them apart.
        """
        return max(0, self._clock.wall_ms()).to_bytes(8, "big")[2:] + self._random.randbytes(REQUEST_ID_BYTES - 6)

    def ping(self) -> None:
        """Does the master answer?"""
        self.call(m.Ping(), m.Done)

    # -- content -----------------------------------------------------------------------------------------------

    def plan(
        self,
        path: str,
        chunks: Sequence[m.ChunkWanted],
        receipts: Sequence[m.Receipt] = (),
        exclude_nodes: Sequence[int] = (),
    ) -> list[m.PlanAnswer]:
        """Where may these chunks go? The answers come in the order of `chunks`."""
        body = m.PlanBody(list(chunks), list(receipts), list(exclude_nodes))
        return self.call(m.Plan(path=path), m.PlanReply, encode_list(body)).items(list[m.PlanAnswer])

    def take_tickets(
        self, path: str, holder: bytes, count: int, exclude_nodes: Iterable[int]
    ) -> tuple[m.TakeTicketsReply, list[m.WriteTicket]]:
        """Leave to put small chunks under the policy of `path`. One try: a plan does instead."""
        request = m.TakeTickets(path=path, holder=holder, count=count, exclude_nodes=list(exclude_nodes))
        answer = self._try_once(request, m.TakeTicketsReply, b"")
        return answer.header, answer.items(list[m.WriteTicket])

    def commit(self, files: Sequence[m.FileCommit], receipts: Sequence[m.Receipt]) -> list[m.Outcome]:
        """Make versions visible; an outcome for each file, in order."""
        body = encode_list(m.CommitBody(list(files), list(receipts)))
        return self.call(m.Commit(request_id=self.request_id()), m.OutcomesReply, body).items(_OUTCOMES)

    def open(self, request: m.Open) -> tuple[m.OpenReply, list[m.OpenExtent]]:
        """A version with the extents, addresses and tickets of a range."""
        answer = self.call(request, m.OpenReply)
        return answer.header, answer.items(_EXTENTS)

    def open_many(self, wanted: Sequence[m.FileWanted]) -> tuple[m.OpenManyReply, m.OpenedFiles]:
        """Small files, each opened or with its own error, in order."""
        answer = self.call(m.OpenMany(), m.OpenManyReply, encode_list(list(wanted)))
        return answer.header, decode(answer.body, m.OpenedFiles)

    def report_copy(self, ticket: m.ReadTicket, finding: str) -> None:
        """Tell of a bad copy. This helps the next reader; that it fails must not hinder this one."""
        try:
            self._try_once(m.ReportCopy(ticket=ticket, finding=finding), m.Done, b"")
        except DfsError as error:
            _logger().warning("could not report a bad copy: %s", error, extra={"node_id": ticket.node_id})

    # -- tree --------------------------------------------------------------------------------------------------

    def stat(self, path: str, *, chunks: bool = False) -> tuple[m.StatReply, list[m.ChunkInfo]]:
        """One entry, and with `chunks` where its bytes are."""
        answer = self.call(m.Stat(path=path, chunks=chunks), m.StatReply)
        return answer.header, answer.items(list[m.ChunkInfo]) if answer.body else []

    def stat_many(self, paths: Sequence[str]) -> list[m.FoundEntry]:
        """What each path names, or its own error, in order."""
        return self.call(m.StatMany(), m.StatManyReply, encode_list(list(paths))).items(list[m.FoundEntry])

    def list_page(
        self, path: str, *, after: str = "", copies: bool = False, recursive: bool = False
    ) -> tuple[list[m.Entry], bool]:
        """The entries of a directory behind the name `after`, and whether there are more; `recursive`: of its tree."""
        answer = self.call(m.List(path=path, after=after, copies=copies, recursive=recursive), m.ListReply)
        return answer.items(list[m.Entry]), answer.header.more

    def make_directories(self, specs: Sequence[m.DirectorySpec], *, exist_ok: bool) -> list[m.Outcome]:
        """Make directories with their parents; an outcome for each, in order."""
        request = m.MakeDirectories(request_id=self.request_id(), exist_ok=exist_ok)
        return self.call(request, m.OutcomesReply, encode_list(list(specs))).items(_OUTCOMES)

    def remove(self, path: str, *, recursive: bool) -> None:
        """Remove a name."""
        self.call(m.Remove(request_id=self.request_id(), path=path, recursive=recursive), m.Done)

    def rename(self, source: str, target: str, *, expect: int) -> None:
        """Move a file or a tree."""
        self.call(m.Rename(request_id=self.request_id(), source=source, target=target, expect=expect), m.Done)

    def set_policy(self, path: str, copies: int) -> None:
        """Set the copies wanted below a directory."""
        self.call(m.SetPolicy(request_id=self.request_id(), path=path, copies=copies), m.Done)

    def disk_usage(self, path: str) -> list[m.UsageRow]:
        """Sums over a tree and its direct children."""
        return self.call(m.DiskUsage(path=path), m.DiskUsageReply).items(list[m.UsageRow])

    # -- cluster -----------------------------------------------------------------------------------------------

    def space(self) -> m.SpaceReply:
        """Free and used space."""
        return self.call(m.Space(), m.SpaceReply).header

    # -- one round trip ----------------------------------------------------------------------------------------

    def call(self, request: m.Header, reply: type[R], body: bytes = b"") -> Answer[R]:
        """Ask until there is an answer. The request is encoded once: a mutation keeps its id."""
        deadline = None if self._hello else Deadline(self._clock, self._connect_seconds)
        backoff: Backoff | None = None
        while True:
            try:
                return self._try_once(request, reply, body)
            except UnavailableError as error:
                if type(error) not in _RETRIED:
                    raise
                # Patience is counted from the first failure: a slow answer must not use it up.
                deadline = deadline or Deadline(self._clock, self._retry_seconds)
                if deadline.passed():
                    raise self._given_up(error) from error
                _logger().info("the master does not answer, trying again: %s", error)
                backoff = backoff or Backoff(self._clock, self._random)
                backoff.pause(seconds_max=deadline.remaining())

    def _try_once(self, request: m.Header, reply: type[R], body: bytes) -> Answer[R]:
        # As `ChannelPool.channel` does, in fewer steps: every request comes this way.
        pool, address = self._pool, self.address
        channel = pool.take(address)
        try:
            if self._hello is None:
                self._learn(channel.hello)
            answer = channel.call(request, reply, body)
        except BaseException:
            pool.give_back(address, channel)
            raise
        pool.give_back(address, channel, sound=True)
        return answer

    def _learn(self, hello: m.HelloReply) -> None:
        with self._lock:
            self._ahead_ms = hello.time_ms - self._clock.wall_ms() if hello.time_ms else 0
            self._hello = hello

    def _given_up(self, error: UnavailableError) -> UnavailableError:
        if self._hello is None:
            return ConnectFailedError(
                f"the master at {self.address} does not answer; check the address, or start it with `dfs start`"
            )
        if not isinstance(error, ConnectFailedError | TimedOutError):
            return error  # the master is there, and its own sentence says why it does not serve
        return type(error)(
            f"the master at {self.address} went away and did not come back within {self._retry_seconds:.0f} s;"
            " see `dfs status`, then repeat the command"
        )


def outcome_error(outcome: m.Outcome) -> DfsError | None:
    """The error of one item of a mutation; None where it was done."""
    return error_from_wire(outcome.code, outcome.message, outcome.details) if outcome.code else None


def _logger() -> "Logger":
    """Where the few things go that nobody is told of. A command that has none to tell does not load it."""
    import logging

    return logging.getLogger(__name__)
