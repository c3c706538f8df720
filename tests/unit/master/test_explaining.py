"""What `dfs explain` says: of files that are well, of files that lack copies, and why."""

from pathlib import Path
from random import Random

import pytest
from blake3 import blake3
from tests.support.masters import Master, running_master

from dfs_master.explaining import ChunkSeen, Scenery, about_chunks, survives
from dfs_master.membership import KnownNode, Timing
from dfs_master.repair_rules import Move
from dfs_wire import messages as m
from dfs_wire.errors import ConflictError, NotFoundError
from dfs_wire.service import Session

ADMIN = Session("127.0.0.1:40009", role=m.Role.ADMIN)
DIGEST = b"d" * 32
NOW = 1_000.0


def node(node_id: int, state: str = "live", heard_at: float = NOW, **changes: object) -> KnownNode:
    """A node called node-ID."""
    address = f"node-{node_id}:1"
    return KnownNode(
        node_id, f"node-{node_id}", address, address, state=state, heard=True, heard_at=heard_at, **changes
    )  # type: ignore[arg-type]


def chunk(*copies: tuple[int, str], wanted: int = 2, digest: bytes = DIGEST) -> ChunkSeen:
    """A chunk with these replicas."""
    return ChunkSeen(digest, 1024, wanted, copies)


def scenery(*nodes: KnownNode, under_way: tuple[Move, ...] = (), held: frozenset[int] = frozenset()) -> Scenery:
    """These nodes, now."""
    return Scenery({each.id: each for each in nodes}, Timing(), NOW, under_way, held)


def told(chunks: list[ChunkSeen], seen: Scenery) -> str:
    """All sentences."""
    return "\n".join(about_chunks(chunks, seen))


def test_a_chunk_that_is_well() -> None:
    """Where it is, and what it survives; nothing else to say."""
    text = told([chunk((1, "good"), (2, "good"))], scenery(node(1), node(2, zone="b"), node(3)))
    assert "2 copies wanted; a copy on node-1 (live), a copy on node-2 (live, zone b)." in text
    assert "survives the loss of any 1 node at once" in text
    assert "Nothing is under way" in text
    assert "does not count" not in text


@pytest.mark.parametrize(
    ("other", "held", "words"),
    [
        (node(2, "suspect", NOW - 20), frozenset(), "it is suspect; repair begins in 100 s"),
        (node(2, "suspect", NOW - 20, leaving=True), frozenset(), "repair begins in 1780 s"),
        (node(2, "suspect", NOW - 20, maintenance_until=NOW + 600), frozenset(), "maintenance, for 600 s more"),
        (node(2, "dead", NOW - 500), frozenset(), "The copy on node-2 no longer counts; another one is made."),
        (node(2, "dead", NOW - 500), frozenset({2}), "many nodes vanished at once"),
    ],
)
def test_why_a_copy_does_not_count(other: KnownNode, held: frozenset[int], words: str) -> None:
    """And until when nothing is done about it."""
    text = told([chunk((1, "good"), (2, "good"))], scenery(node(1), other, held=held))
    assert words in text
    assert "survives no further loss" in text


def test_damaged_and_lost_copies_are_named() -> None:
    """They never count."""
    seen = scenery(node(1), node(2), node(3))
    text = told([chunk((1, "good"), (2, "bad"), (3, "missing"))], seen)
    assert "a damaged copy on node-2" in text
    assert "a lost copy on node-3" in text
    assert survives([chunk((2, "bad"))], seen) == -1
    assert "cannot be read in full now" in told([chunk((2, "bad"))], seen)


def test_a_file_survives_what_its_weakest_chunk_survives() -> None:
    """Chunks that lie alike are told of together."""
    chunks = [chunk((1, "good"), (2, "good"), (3, "good"), digest=bytes([number]) * 32) for number in range(5)]
    seen = scenery(node(1), node(2), node(3))
    assert survives(chunks, seen) == 2
    assert "5 chunks (5.0 KiB)" in told(chunks, seen)
    assert survives([*chunks, chunk((1, "good"))], seen) == 0


def test_copies_under_way_are_told() -> None:
    """From where, and to where."""
    move = Move(1, DIGEST, 1024, source=1, target=3)
    other = Move(2, b"x" * 32, 1024, source=1, target=3)
    text = told([chunk((1, "good"))], scenery(node(1), node(3), under_way=(move, other)))
    assert "Under way: 1 copy from node-1 to node-3." in text


def explained(master: Master, subject: str) -> tuple[m.ExplainReply, str]:
    """The reply and its sentences."""
    answer = master.ask(ADMIN, m.Explain(subject=subject))
    return answer.header, "\n".join(answer.items(list[str]))


def test_paths_chunks_and_nodes_at_a_whole_master(tmp_path: Path) -> None:
    """Each kind of subject is found by what people call it."""
    content = Random(1).randbytes(100)
    digest = blake3(content).hexdigest()
    with running_master(tmp_path) as master:
        nodes = [master.join(name)[1].node_id for name in ("node-1", "node-2", "node-3")]
        master.upload("/dir/a", content, nodes[:2])
        reply, text = explained(master, "/dir/a")
        assert (reply.kind, reply.survives) == ("file", 1)
        assert "/dir/a is a file of 100 bytes in 1 piece; 2 copies are wanted by the cluster's policy." in text
        reply, text = explained(master, "/dir")
        assert reply.kind == "directory"
        for name in (digest, digest[:8]):
            reply, text = explained(master, name)
            assert (reply.kind, reply.survives) == ("chunk", 1)
            assert "It holds bytes of /dir/a." in text
        for name in ("node-1", str(nodes[0])):
            reply, text = explained(master, name)
            assert reply.kind == "node"
            assert "On record there: 1 verified copy" in text
            assert "not safe to lose" in text
        assert "safe to stop" in explained(master, "node-3")[1]
        for unknown in ("/none", "f" * 64, "nobody"):
            with pytest.raises(NotFoundError):
                explained(master, unknown)


def test_a_beginning_of_two_chunks_is_refused(tmp_path: Path) -> None:
    """Two contents whose digests begin alike, found by trying."""
    contents: dict[str, bytes] = {}
    for number in range(1_000_000):
        content = number.to_bytes(4, "big")
        other = contents.setdefault(blake3(content).hexdigest()[:8], content)
        if other is not content:
            break
    with running_master(tmp_path) as master:
        nodes = [master.join(name)[1].node_id for name in ("node-1", "node-2")]
        master.upload("/a", content, nodes)
        master.upload("/b", other, nodes, request_id=b"2" * 16)
        with pytest.raises(ConflictError, match="more digits"):
            explained(master, blake3(content).hexdigest()[:8])
