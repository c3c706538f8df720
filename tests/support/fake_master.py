"""The master's half of the fake cluster: its state, open to tests, and an answer for every verb."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dfs_runtime.clock import ManualClock
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import decode, encode
from dfs_wire.errors import (
    AlreadyExistsError,
    BadTicketError,
    ChunksMissingError,
    DfsError,
    NotEmptyError,
    NotFoundError,
    TooFewNodesError,
    TooLargeError,
    VersionGoneError,
    WrongKindError,
)
from dfs_wire.limits import AHEAD_SECONDS, BATCH_EXTENTS_MAX, TICKET_SECONDS

CLUSTER_ID = "fake"


@dataclass(slots=True)
class FakeNode:
    """A node: its chunks by digest, and whether it answers."""

    id: int
    up: bool = True
    chunks: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As in listings."""
        return f"node-{self.id}"

    @property
    def address(self) -> str:
        """Where it is dialled."""
        return f"{self.name}:1"


@dataclass(eq=False)
class FakeMaster:
    """Names, versions and who holds what. Called under the cluster's lock."""

    copies: int = 2
    node_count: int = 3
    page_entries: int = 1_000
    clock: ManualClock = field(default_factory=ManualClock)
    nodes: dict[int, FakeNode] = field(default_factory=dict)
    #: path -> version id; versions stay when their file goes.
    files: dict[str, int] = field(default_factory=dict)
    directories: dict[str, m.DirectorySpec] = field(default_factory=dict)
    versions: dict[int, m.FileCommit] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    #: Digest -> nodes that the master knows to hold it.
    replicas: dict[bytes, set[int]] = field(default_factory=dict)
    #: Digests that a plan calls stored although they are not.
    wrong_hints: set[bytes] = field(default_factory=set)
    policies: dict[str, int] = field(default_factory=dict)
    reports: list[m.ReportCopy] = field(default_factory=list)
    plan_bodies: list[m.PlanBody] = field(default_factory=list)
    outcomes: dict[bytes, list[m.Outcome]] = field(default_factory=dict)
    ahead_bytes_max: int = 1 << 20
    _nonces: int = 0

    def __post_init__(self) -> None:
        self.nodes = {number: FakeNode(number) for number in range(1, self.node_count + 1)}

    def answer_as_master(self, request: m.Header, body: bytes) -> Answer[Any]:
        """Carry out one request."""
        handlers: dict[type[m.Header], Callable[[Any, bytes], Answer[Any]]] = {
            m.Ping: self._ping,
            m.Plan: self._plan,
            m.TakeTickets: self._take_tickets,
            m.Commit: self._commit,
            m.Open: self._open,
            m.OpenMany: self._open_many,
            m.StatMany: self._stat_many,
            m.ReportCopy: self._report_copy,
            m.Stat: self._stat,
            m.List: self._list,
            m.MakeDirectories: self._make_directories,
            m.Remove: self._remove,
            m.Rename: self._rename,
            m.SetPolicy: self._set_policy,
            m.DiskUsage: self._disk_usage,
            m.Space: self._space,
            m.Status: self._status,
        }
        return handlers[type(request)](request, body)

    # -- content ---------------------------------------------------------------------------------------

    def _ping(self, _request: m.Ping, _body: bytes) -> Answer[m.Done]:
        return Answer(m.Done())

    def copies_for(self, path: str) -> int:
        """The policy of the nearest directory that has one."""
        while path:
            path = path.rpartition("/")[0]
            if path in self.policies:
                return self.policies[path]
        return self.copies

    def _holders(self, digest: bytes, receipts: list[m.Receipt]) -> set[int]:
        now = self.clock.wall_ms()
        signed = {each.node_id for each in receipts if each.digest == digest and each.expires_at_ms > now}
        return {number for number in self.replicas.get(digest, set()) | signed if self.nodes[number].up}

    def _plan(self, request: m.Plan, body: bytes) -> Answer[m.PlanReply]:
        plan = decode(body, m.PlanBody)
        self.plan_bodies.append(plan)
        copies = self.copies_for(request.path)
        answers = []
        for chunk in plan.chunks:
            holders = self._holders(chunk.digest, plan.receipts)
            missing = 0 if chunk.digest in self.wrong_hints else copies - len(holders)
            ticket = self._ticket(chunk, holders, missing, plan.exclude_nodes) if missing > 0 else None
            answers.append(m.PlanAnswer(chunk.digest, ticket))
        return Answer(m.PlanReply(copies=copies), encode(answers))

    def _ticket(self, chunk: m.ChunkWanted, holders: set[int], missing: int, excluded: list[int]) -> m.WriteTicket:
        usable = [node for node in self.nodes.values() if node.id not in holders | set(excluded)]
        if len(usable) < missing:
            raise TooFewNodesError(f"{missing} more nodes are needed and {len(usable)} are there; start nodes")
        self._turn += 1
        chosen = [usable[(self._turn + step) % len(usable)] for step in range(missing)]
        expires = self.clock.wall_ms() + TICKET_SECONDS * 1000
        hops = [m.Hop(node.id, node.address, b"mac") for node in chosen]
        return m.WriteTicket(chunk.digest, chunk.size, 1, expires, b"nonce", hops)

    def _take_tickets(self, request: m.TakeTickets, _body: bytes) -> Answer[m.TakeTicketsReply]:
        copies, now = self.copies_for(request.path), self.clock.wall_ms()
        given = []
        for _ in range(request.count):
            self._nonces += 1
            ticket = self._ticket(m.ChunkWanted(b"", 0), set(), copies, request.exclude_nodes)
            given.append(
                msgspec.structs.replace(
                    ticket,
                    expires_at_ms=now + AHEAD_SECONDS * 1000,
                    nonce=self._nonces.to_bytes(16, "big"),
                    bytes_max=self.ahead_bytes_max,
                    issued_at_ms=now,
                    holder=request.holder,
                )
            )
        return Answer(m.TakeTicketsReply(copies=copies, time_ms=now), encode(given))

    def _commit(self, request: m.Commit, body: bytes) -> Answer[m.OutcomesReply]:
        commit = decode(body, m.CommitBody)
        if request.request_id not in self.outcomes:
            outcomes = [self._commit_one(each, commit.receipts) for each in commit.files]
            self.outcomes[request.request_id] = outcomes
        return Answer(m.OutcomesReply(), encode(self.outcomes[request.request_id]))

    def _commit_one(self, commit: m.FileCommit, receipts: list[m.Receipt]) -> m.Outcome:
        try:
            return m.Outcome(self._commit_file(commit, receipts))
        except DfsError as error:
            return m.Outcome(0, error.code, error.message, error.details)

    def _commit_file(self, commit: m.FileCommit, receipts: list[m.Receipt]) -> int:
        if commit.path in self.directories:
            raise WrongKindError(f"{commit.path} is a directory")
        if commit.expect == m.EXPECT_ABSENT and commit.path in self.files:
            raise AlreadyExistsError(f"{commit.path} exists")
        digests = {extent.digest for extent in commit.extents}
        now = self.clock.wall_ms()
        if expired := [each.digest for each in receipts if each.digest in digests and each.expires_at_ms <= now]:
            raise BadTicketError("receipts have expired", digests=expired)
        copies = self.copies_for(commit.path)
        if missing := [digest for digest in digests if len(self._holders(digest, receipts)) < copies]:
            self.wrong_hints -= set(missing)
            raise ChunksMissingError("chunks are missing", digests=missing, copies=copies)
        for digest in digests:
            self.replicas.setdefault(digest, set()).update(self._holders(digest, receipts))
        version = len(self.versions) + 1
        self.versions[version] = commit
        self.files[commit.path] = version
        self._make_parents(commit.path)
        return version

    def _open(self, request: m.Open, _body: bytes) -> Answer[m.OpenReply]:
        if not request.version and request.path in self.directories:
            raise WrongKindError(f"{request.path} is a directory")
        version = request.version or self.files.get(request.path, 0)
        if version in self.gone:
            raise VersionGoneError(f"version {version} is gone")
        if version not in self.versions:
            raise NotFoundError(f"{request.path} does not exist")
        commit = self.versions[version]
        end = commit.size if request.length < 0 else request.offset + request.length
        expires = self.clock.wall_ms() + TICKET_SECONDS * 1000
        extents, start = [], 0
        for extent in commit.extents:
            if start < end and start + extent.length > request.offset:
                holders = [self.nodes[number] for number in sorted(self.replicas.get(extent.digest, set()))]
                # The ticket's MAC here is its own expiry, so that a mixed-up pair is seen.
                tickets = [m.ReplicaTicket(n.id, n.name, n.address, str(expires).encode()) for n in holders]
                extents.append(
                    m.OpenExtent(start, extent.digest, extent.chunk_size, extent.offset, extent.length, tickets)
                )
            start += extent.length
        reply = m.OpenReply(
            version=version,
            size=commit.size,
            digest=commit.digest,
            mtime_ns=commit.mtime_ns,
            mode=commit.mode,
            expires_at_ms=expires,
            time_ms=self.clock.wall_ms(),
        )
        return Answer(reply, encode(extents))

    def _open_many(self, _request: m.OpenMany, body: bytes) -> Answer[m.OpenManyReply]:
        now = self.clock.wall_ms()
        expires = now + TICKET_SECONDS * 1000
        files: list[m.OpenedFile] = []
        chunks: dict[bytes, m.OpenedChunk] = {}
        for wanted in decode(body, list[m.FileWanted]):
            try:
                files.append(self._open_one(wanted, chunks, expires))
            except DfsError as error:
                files.append(m.OpenedFile(0, 0, b"", 0, 0, [], error.code, error.message))
        return Answer(
            m.OpenManyReply(expires_at_ms=expires, time_ms=now), encode(m.OpenedFiles(files, list(chunks.values())))
        )

    def _open_one(self, wanted: m.FileWanted, chunks: dict[bytes, m.OpenedChunk], expires: int) -> m.OpenedFile:
        answer = self._open(m.Open(path=wanted.path, version=wanted.version), b"")
        extents = []
        for each in decode(answer.body, list[m.OpenExtent]):
            chunks.setdefault(each.digest, m.OpenedChunk(each.digest, each.chunk_size, each.replicas))
            extents.append(m.SharedExtent(list(chunks).index(each.digest), each.offset, each.length))
        if len(extents) > BATCH_EXTENTS_MAX:
            raise TooLargeError("too many extents")
        reply = answer.header
        return m.OpenedFile(reply.version, reply.size, reply.digest, reply.mtime_ns, reply.mode, extents)

    def _report_copy(self, request: m.ReportCopy, _body: bytes) -> Answer[m.Done]:
        self.reports.append(request)
        return Answer(m.Done())

    # -- tree ------------------------------------------------------------------------------------------

    def _make_parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        while parent and parent not in self.directories:
            self.directories[parent] = m.DirectorySpec(parent, 0o755, 0)
            parent = parent.rpartition("/")[0]

    def entry(self, path: str) -> m.Entry:
        """A name as listings show it."""
        if path in self.files:
            version = self.files[path]
            commit = self.versions[version]
            return m.Entry(path, m.EntryKind.FILE, commit.size, commit.mtime_ns, commit.mode, version, commit.digest)
        if path in self.directories:
            spec = self.directories[path]
            return m.Entry(path, m.EntryKind.DIRECTORY, 0, spec.mtime_ns, spec.mode, 0, b"")
        if path == "/":
            return m.Entry("/", m.EntryKind.DIRECTORY, 0, 0, 0o755, 0, b"")
        raise NotFoundError(f"{path} does not exist")

    def _stat(self, request: m.Stat, _body: bytes) -> Answer[m.StatReply]:
        reply = m.StatReply(entry=self.entry(request.path), copies_wanted=self.copies_for(request.path))
        return Answer(reply, encode([]) if request.chunks else b"")

    def _stat_many(self, _request: m.StatMany, body: bytes) -> Answer[m.StatManyReply]:
        found = []
        for path in decode(body, list[str]):
            try:
                found.append(m.FoundEntry(self.entry(path)))
            except DfsError as error:
                found.append(m.FoundEntry(None, error.code, error.message))
        return Answer(m.StatManyReply(), encode(found))

    def _list(self, request: m.List, _body: bytes) -> Answer[m.ListReply]:
        entry = self.entry(request.path)
        if entry.kind is m.EntryKind.FILE:
            return Answer(m.ListReply(), encode([entry]))
        prefix = request.path.rstrip("/") + "/"
        names = sorted(
            (
                path.removeprefix(prefix)
                for path in {*self.files, *self.directories}
                if path.startswith(prefix) and (request.recursive or "/" not in path.removeprefix(prefix))
            ),
            key=lambda name: name.split("/"),
        )
        behind = [name for name in names if name.split("/") > request.after.split("/")]
        page = behind[: min(request.limit, self.page_entries)]
        return Answer(m.ListReply(more=len(page) < len(behind)), encode([self.entry(prefix + name) for name in page]))

    def _make_directories(self, request: m.MakeDirectories, body: bytes) -> Answer[m.OutcomesReply]:
        outcomes = []
        for spec in decode(body, list[m.DirectorySpec]):
            if spec.path in self.files or (spec.path in self.directories and not request.exist_ok):
                outcomes.append(m.Outcome(0, AlreadyExistsError.code, f"{spec.path} exists"))
                continue
            self.directories[spec.path] = spec
            self._make_parents(spec.path)
            outcomes.append(m.Outcome(0))
        return Answer(m.OutcomesReply(), encode(outcomes))

    def _remove(self, request: m.Remove, _body: bytes) -> Answer[m.Done]:
        self.entry(request.path)
        below = [path for path in {*self.files, *self.directories} if path.startswith(request.path + "/")]
        if below and not request.recursive:
            raise NotEmptyError(f"{request.path} is not empty")
        for path in [*below, request.path]:
            self.files.pop(path, None)
            self.directories.pop(path, None)
        return Answer(m.Done())

    def _rename(self, request: m.Rename, _body: bytes) -> Answer[m.Done]:
        self.entry(request.source)
        if request.expect == m.EXPECT_ABSENT and request.target in {*self.files, *self.directories}:
            raise AlreadyExistsError(f"{request.target} exists")
        self.files[request.target] = self.files.pop(request.source)
        return Answer(m.Done())

    def _set_policy(self, request: m.SetPolicy, _body: bytes) -> Answer[m.Done]:
        self.policies[request.path] = request.copies
        return Answer(m.Done())

    def _disk_usage(self, request: m.DiskUsage, _body: bytes) -> Answer[m.DiskUsageReply]:
        prefix = request.path.rstrip("/") + "/"
        files = [self.entry(path) for path in self.files if path.startswith(prefix)]
        row = m.UsageRow(request.path, len(files), 1, sum(entry.size for entry in files))
        return Answer(m.DiskUsageReply(), encode([row]))

    def _space(self, _request: m.Space, _body: bytes) -> Answer[m.SpaceReply]:
        used = sum(len(data) for node in self.nodes.values() for data in node.chunks.values())
        reply = m.SpaceReply(
            capacity_bytes=1 << 40, used_bytes=used, free_bytes=(1 << 40) - used, nodes=len(self.nodes)
        )
        return Answer(reply)

    def _status(self, _request: m.Status, _body: bytes) -> Answer[m.StatusReply]:
        reply = m.StatusReply(
            cluster_id=CLUSTER_ID,
            state="active",
            epoch=1,
            software="fake",
            files=len(self.files),
            bytes=0,
            under_replicated=0,
            unreadable=0,
            copies=self.copies,
        )
        nodes = [
            m.NodeInfo(n.id, n.name, n.address, n.address, "", "live" if n.up else "dead", 0, 0, 0, 0)
            for n in self.nodes.values()
        ]
        return Answer(reply, encode(nodes))
