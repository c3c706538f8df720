"""`Explain`: where the copies of a file, a chunk or a node are, and why. Called on a worker: it reads a lot."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dfs_master.catalog.models import ReplicaState
from dfs_master.cluster import Cluster
from dfs_master.explaining import ChunkSeen, Scenery, about_chunks, about_node, size_text, survives
from dfs_master.healing import Healing
from dfs_master.unsure import unsure_nodes
from dfs_runtime.words import plural
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import encode_list
from dfs_wire.errors import ConflictError, NotFoundError
from dfs_wire.limits import DIGEST_BYTES
from dfs_wire.service import Session

#: Files of a chunk that are named.
FILES_MAX = 10
#: A digest, or its beginning.
_HEX = re.compile(r"[0-9a-f]{8,64}")


class Explained(NamedTuple):
    """What the subject turned out to be, how many losses it survives, and the sentences."""

    kind: str
    survives: int
    sentences: Sequence[str]


class ExplainHandlers:
    """Safe to use from several threads."""

    def __init__(self, cluster: Cluster, healing: Healing) -> None:
        self._cluster = cluster
        self._healing = healing

    def explain(self, _session: Session, request: m.Explain, _body: bytes) -> Answer[m.ExplainReply]:
        """A path begins with a slash; a digest, or 8 hex digits of its beginning, names a chunk; all else a node.

        Raises:
            NotFoundError: there is no such thing.
            ConflictError: several chunks begin like that.
        """
        subject = request.subject
        explain: Callable[[str, Scenery], Explained] = self._node
        if subject.startswith("/"):
            explain = self._path
        elif _HEX.fullmatch(subject) and not self._is_node(subject):
            explain = self._chunk
        found = explain(subject, self._scenery())
        return Answer(m.ExplainReply(kind=found.kind, survives=found.survives), encode_list(list(found.sentences)))

    def _scenery(self) -> Scenery:
        cluster, healing = self._cluster, self._healing
        return Scenery(
            nodes=cluster.registry.nodes,
            timing=cluster.registry.timing,
            now=cluster.clock.monotonic(),
            under_way=healing.desk.under_way(),
            held=frozenset(node_id for failure in healing.repairer.view.failures for node_id in failure.node_ids),
            safe_mode=cluster.safe_mode.active,
        )

    def _path(self, path: str, scenery: Scenery) -> Explained:
        reader = self._cluster.reader
        with reader.snapshot():
            entry, copies, source = reader.stat(path)
            infos = reader.chunk_infos(entry.version) if entry.kind is m.EntryKind.FILE else []
            known = reader.known_chunks([info.digest for info in infos])
        policy = f"the policy of {source}" if source else "the cluster's policy"
        wanted = f"{plural(copies, 'copy')} {'is' if copies == 1 else 'are'} wanted by {policy}."
        if entry.kind is m.EntryKind.DIRECTORY:
            return Explained("directory", -1, [f"{entry.path} is a directory; for what is in it {wanted}"])
        chunks = [
            ChunkSeen(digest, chunk.size, copies, tuple((each.node_id, each.state) for each in chunk.replicas))
            for digest, chunk in known.items()
        ]
        head = f"{entry.path} is a file of {size_text(entry.size)} in {plural(len(infos), 'piece')}; {wanted}"
        if not chunks:
            return Explained("file", len(scenery.nodes) - 1, [head, "It is empty: only the master's database has it."])
        return Explained("file", survives(chunks, scenery), [head, *about_chunks(chunks, scenery)])

    def _chunk(self, prefix: str, scenery: Scenery) -> Explained:
        reader = self._cluster.reader
        with reader.snapshot():
            digests = reader.digests_like(prefix, 2)
            if len(digests) > 1:
                raise ConflictError(f"several chunks begin with {prefix}; give more digits")
            if not digests:
                raise NotFoundError(f"no chunk begins with {prefix}; see `dfs-client stat PATH`")
            (chunk,) = reader.known_chunks(digests).values()
            wanted = reader.copies_of([chunk.id])
            files = reader.files_of_chunk(chunk.id, FILES_MAX + 1)
        copies = tuple((each.node_id, each.state) for each in chunk.replicas)
        seen = ChunkSeen(digests[0], chunk.size, wanted[0].copies_wanted if wanted else 0, copies)
        named = ", ".join(files[:FILES_MAX]) + (", and more" if len(files) > FILES_MAX else "")
        used = f"It holds bytes of {named}." if files else "No current file has bytes in it: it waits to be collected."
        sentences = [f"Chunk {digests[0].hex()} has {size_text(chunk.size)}.", used, *about_chunks([seen], scenery)]
        if not any(state == ReplicaState.GOOD for _, state in copies):
            sentences.append("No node has a verified copy of it.")
        return Explained("chunk", survives([seen], scenery), sentences)

    def _node(self, name: str, scenery: Scenery) -> Explained:
        node = next((node for node in scenery.nodes.values() if name in (node.name, str(node.id))), None)
        if node is None:
            raise NotFoundError(f"{name} is no node; name one of `dfs node list`, a path, or a chunk's digest")
        reader = self._cluster.reader
        with reader.snapshot():
            held = reader.held_by(node.id)
            left = reader.moves_left(node.id, unsure_nodes(scenery.nodes.values(), reader))
        return Explained("node", -1, about_node(node, held.copies, held.bytes, left.chunks, scenery))

    def _is_node(self, subject: str) -> bool:
        if len(subject) == 2 * DIGEST_BYTES:
            return False
        return any(subject in (node.name, str(node.id)) for node in self._cluster.registry.nodes.values())
