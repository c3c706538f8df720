"""Names: look-ups answered at once, changes judged by the committer."""

from dfs_master.catalog.mutations import tree as mutations
from dfs_master.cluster import Cluster
from dfs_master.handlers.replies import done_to, outcomes_to
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import decode, encode_list
from dfs_wire.errors import TooLargeError
from dfs_wire.event_listener import Respond
from dfs_wire.limits import COMMIT_FILES_MAX
from dfs_wire.service import Session


class TreeHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def stat(self, session: Session, request: m.Stat, _body: bytes) -> Answer[m.StatReply]:
        """One entry, its policy, and where asked for its chunks."""
        reader = self._cluster.reader
        with reader.snapshot():
            entry, copies, policy_from = reader.stat(request.path)
            wanted = request.chunks and entry.version
            chunks = reader.chunk_infos(entry.version, address_set=session.address_set) if wanted else []
        reply = m.StatReply(entry=entry, copies_wanted=copies, policy_from=policy_from)
        return Answer(reply, encode_list(chunks) if request.chunks else b"")

    def list(self, session: Session, request: m.List, _body: bytes) -> Answer[m.ListReply]:
        """A page of a directory."""
        reader = self._cluster.reader
        entries, more = reader.list_page(
            request.path,
            request.after,
            request.limit,
            copies=request.copies,
            recursive=request.recursive,
            address_set=session.address_set,
        )
        return Answer(m.ListReply(more=more), encode_list(entries))

    def disk_usage(self, _session: Session, request: m.DiskUsage, _body: bytes) -> Answer[m.DiskUsageReply]:
        """Sums over a tree."""
        rows = self._cluster.reader.disk_usage(request.path)
        return Answer(m.DiskUsageReply(), encode_list(rows))

    def make_directories(self, _session: Session, request: m.MakeDirectories, body: bytes, respond: Respond) -> None:
        """Make directories."""
        specs = decode(body, list[m.DirectorySpec])
        if not 0 < len(specs) <= COMMIT_FILES_MAX:
            raise TooLargeError(f"1 to {COMMIT_FILES_MAX} directories a request, not {len(specs)}; send several")
        mutation = mutations.MakeDirectories(request.request_id, request.exist_ok, specs)
        self._cluster.committer.submit(mutation, outcomes_to(respond))

    def remove(self, _session: Session, request: m.Remove, _body: bytes, respond: Respond) -> None:
        """Remove a file or a tree."""
        mutation = mutations.Remove(request.request_id, request.path, request.recursive, request.expect)
        self._cluster.committer.submit(mutation, done_to(respond))

    def rename(self, _session: Session, request: m.Rename, _body: bytes, respond: Respond) -> None:
        """Move a file or a tree."""
        mutation = mutations.Rename(request.request_id, request.source, request.target, request.expect)
        self._cluster.committer.submit(mutation, done_to(respond))

    def set_policy(self, _session: Session, request: m.SetPolicy, _body: bytes, respond: Respond) -> None:
        """Say how many copies are wanted below a directory."""
        mutation = mutations.SetPolicy(request.request_id, request.path, request.copies)
        self._cluster.committer.submit(mutation, done_to(respond))
