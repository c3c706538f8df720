"""`dfs status` and `dfs node list`: what the master says of itself and its nodes."""

from dataclasses import dataclass, field

from dfs_client.api import Dfs, connect
from dfs_client.display import human_bytes, utc_time
from dfs_client.output import Column, Output
from dfs_deploy.client_health import connect_as_operator
from dfs_deploy.repair_report import repair_lines, repair_object
from dfs_deploy.session import Session
from dfs_runtime.words import plural
from dfs_wire.errors import UnavailableError
from dfs_wire.messages import NodeInfo, RepairStatusReply, StatusReply

_NANOSECONDS_PER_MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A cluster at one moment. `reply` is None when the master did not answer; `trouble` is a sentence, or empty."""

    name: str
    address: str
    reply: StatusReply | None = None
    nodes: list[NodeInfo] = field(default_factory=list)
    trouble: str = ""
    repair: RepairStatusReply | None = None

    def as_object(self) -> dict[str, object]:
        """The object of `dfs status --json`; what nobody knows is null."""
        reply = self.reply
        return {
            "name": self.name,
            "master": {
                "address": self.address,
                "state": "unreachable" if reply is None else reply.state,
                "epoch": None if reply is None else reply.epoch,
                "notice": None if reply is None else reply.notice or None,
            },
            "nodes": self.node_objects(),
            "files": None if reply is None else reply.files,
            "bytes": None if reply is None else reply.bytes,
            "copies": None if reply is None else reply.copies,
            "under_replicated": None if reply is None else reply.under_replicated,
            "unreadable": None if reply is None else reply.unreadable,
            "repair": None if self.repair is None else repair_object(self.repair),
        }

    def node_objects(self) -> list[dict[str, object]]:
        """One object a node."""
        return [
            {
                "id": node.id,
                "name": node.name,
                "address": node.address,
                "state": node.state,
                "capacity_bytes": node.capacity_bytes,
                "used_bytes": node.used_bytes,
                "last_seen_at": _seen_at(node),
                "scrubbed_at": _time(node.scrubbed_at_ms),
                "scrub_percent": node.scrub_permille / 10 if node.scrub_permille else None,
            }
            for node in self.nodes
        ]


def look_at(session: Session) -> Seen:
    """Ask the master of the cluster that the command means.

    Raises:
        DfsError: there is no such cluster or profile, or the key does not allow it; a master that does not answer is
            no error here.
    """
    name = session.cluster_name()
    spec = session.store.find(name)
    if spec is None:
        from dfs_client.profile import read_profile

        address = read_profile(name, home=session.home).master
    else:
        address = spec.master_address
    try:
        with connect_to(session) as dfs:
            return _answer(dfs, name, address)
    except UnavailableError as error:
        if spec is None:
            trouble = str(error)
        elif spec.destroyed:
            trouble = f"Cluster {name!r} was destroyed; `dfs deploy --name {name}` brings it back over its data."
        else:
            trouble = f"The master at {address} does not answer; `dfs start --name {name}` starts what is dead."
        return Seen(name=name, address=address, trouble=trouble)


def connect_to(session: Session) -> Dfs:
    """A connection as operator to the cluster that the command means; `with` closes it.

    Raises:
        DfsError: there is no such cluster or profile.
    """
    name = session.cluster_name()
    spec = session.store.find(name)
    return connect(name) if spec is None else connect_as_operator(spec, session.store.credentials(name))


def _answer(dfs: Dfs, name: str, address: str) -> Seen:
    status = dfs.status()
    count = status.reply.unreadable
    trouble = f"{count} files have a chunk that no reachable node holds; start the dead nodes." if count else ""
    nodes = sorted(status.nodes, key=_natural_order)
    repair = dfs.admin.repair_status()
    return Seen(name=name, address=address, reply=status.reply, nodes=nodes, trouble=trouble, repair=repair)


def _natural_order(node: NodeInfo) -> tuple[str, int, str]:
    """node-2 before node-10."""
    stem = node.name.rstrip("0123456789")
    return stem, int(node.name[len(stem) :] or 0), node.name


def _seen_at(node: NodeInfo) -> str | None:
    return _time(node.last_seen_at_ms)


def _time(at_ms: int) -> str | None:
    return utc_time(at_ms * _NANOSECONDS_PER_MILLISECOND) if at_ms else None


def _scrub(node: NodeInfo) -> str:
    """When all chunks were read last; how far the pass under way is."""
    ended = _time(node.scrubbed_at_ms)
    under_way = f"{node.scrub_permille / 10:.0f} %" if node.scrub_permille else ""
    return f"{ended[:10] if ended else 'not yet'}{', now ' if under_way else ''}{under_way}"


def show_status(seen: Seen, output: Output) -> None:
    """The same for people."""
    if seen.reply is None:
        output.fields([("cluster", seen.name), ("master", f"{seen.address}, unreachable")])
        return
    reply = seen.reply
    output.fields(
        [
            ("cluster", seen.name),
            ("master", f"{seen.address}, {reply.state}, epoch {reply.epoch}"),
            ("files", f"{reply.files} with {human_bytes(reply.bytes)}, {plural(reply.copies, 'copy')} wanted"),
            ("health", _health(reply)),
            *([] if seen.repair is None else repair_lines(seen.repair, brief=True)),
            *([("note", reply.notice)] if reply.notice else []),
        ]
    )
    output.line()
    show_nodes(seen, output)


def _health(reply: StatusReply) -> str:
    if reply.unreadable:
        return f"{plural(reply.unreadable, 'file')} cannot be read"
    if reply.under_replicated:
        return f"all files can be read; {reply.under_replicated} chunks have too few copies"
    return "all files have all their copies"


def show_nodes(seen: Seen, output: Output) -> None:
    """A line a node."""
    titles = [Column("NAME"), Column("ID", right=True), Column("STATE"), Column("ADDRESS")]
    titles += [Column("USED", right=True), Column("CAPACITY", right=True), Column("LAST SEEN"), Column("SCRUBBED")]
    output.table(titles, (_row(node, output) for node in seen.nodes))


def _row(node: NodeInfo, output: Output) -> list[str]:
    sizes = [output.size(node.used_bytes), output.size(node.capacity_bytes)]
    times = [_seen_at(node) or "never", _scrub(node)]
    return [node.name, str(node.id), node.state, node.address, *sizes, *times]
