"""The sample exchanges of `protocol.md`: one small upload and download, from fixed keys, times and nonces."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from blake3 import blake3
from crc32c import crc32c

from dfs_wire import frame, tickets
from dfs_wire import messages as m
from dfs_wire.codec import encode, error_header
from dfs_wire.errors import NotFoundError
from dfs_wire.frame import Kind
from dfs_wire.verbs import BY_REQUEST

MASTER_KEY = bytes(range(32))
CLUSTER_ID = "000102030405060708090a0b0c0d0e0f"
CLIENT_KEY = bytes(range(0x20, 0x40))
JOIN_TOKEN = bytes(range(0x40, 0x60))
CONTENT = b"Hello, dfs!\n"
DIGEST = blake3(CONTENT).digest()
NOW_MS = 1_800_000_000_000
MTIME_NS = 1_799_999_999_123_456_789
NONCE = bytes(range(0x60, 0x70))
REQUEST_ID = bytes(range(0x70, 0x80))
GENERATION = (1 << 40) + 1
VERSION = 4_101

_ONE_LINE_BYTES = 16


@dataclass(frozen=True)
class Sample:
    """A frame as it stands on the page."""

    title: str
    data: bytes
    header: m.Header | None
    body: Any = None


def node_key(node_id: int) -> bytes:
    """The key of a node of the sample cluster."""
    return tickets.derive_node_key(MASTER_KEY, CLUSTER_ID, node_id)


def write_ticket() -> m.WriteTicket:
    """For the sample chunk, on nodes 1 and 2."""
    addresses = ["127.0.0.1:5001", "node-2:5001"]
    bare = m.WriteTicket(
        DIGEST,
        len(CONTENT),
        GENERATION,
        NOW_MS + 300_000,
        NONCE,
        [m.Hop(place + 1, address, b"") for place, address in enumerate(addresses)],
    )
    signed = [
        m.Hop(hop.node_id, hop.address, tickets.write_mac(node_key(hop.node_id), CLUSTER_ID, bare, place, [1, 2]))
        for place, hop in enumerate(bare.hops)
    ]
    return msgspec.structs.replace(bare, hops=signed)


def receipt(node_id: int) -> m.Receipt:
    """A node's receipt for the sample chunk."""
    bare = m.Receipt(node_id, DIGEST, len(CONTENT), GENERATION, NOW_MS + 40, NOW_MS + 40 + 86_400_000, b"")
    return tickets.sign_receipt(node_key(node_id), CLUSTER_ID, bare)


def read_mac(node_id: int) -> bytes:
    """MAC of a read ticket for the sample chunk."""
    return tickets.read_mac(node_key(node_id), CLUSTER_ID, node_id, DIGEST, NOW_MS + 360_000)


def request(title: str, number: int, header: m.Header, body: object = None, raw: bytes | None = None) -> Sample:
    """A request frame."""
    return _sample(title, Kind.REQUEST, BY_REQUEST[type(header)].number, number, header, body, raw)


def reply(
    title: str, verb: type[m.Header], number: int, header: m.Header, body: object = None, raw: bytes | None = None
) -> Sample:
    """A reply frame."""
    return _sample(title, Kind.REPLY, BY_REQUEST[verb].number, number, header, body, raw)


def _sample(
    title: str, kind: Kind, verb: int, number: int, header: m.Header, body: object, raw: bytes | None
) -> Sample:
    encoded = encode(header)
    data = raw if raw is not None else b"" if body is None else encode(body)
    checksum = 0 if raw is not None else frame.body_checksum(data)
    head = frame.encode_head(kind, verb, number, encoded, len(data), checksum)
    return Sample(title, head + encoded + data, header, raw if raw is not None else body)


def exchanges() -> Iterator[Sample]:
    """Every sample frame, in the order of the story."""
    yield request("Client to master: Hello", 1, m.Hello(role=m.Role.CLIENT, credential=CLIENT_KEY, software="sample 1"))
    yield reply(
        "Master to client: the credential is good",
        m.Hello,
        1,
        m.HelloReply(cluster_id=CLUSTER_ID, epoch=1, time_ms=NOW_MS, software="dfs 0.1.0"),
    )
    yield request(
        "Client to master: where may this chunk go?",
        2,
        m.Plan(path="/hello.txt"),
        m.PlanBody([m.ChunkWanted(DIGEST, len(CONTENT))]),
    )
    yield reply(
        "Master to client: to these two nodes",
        m.Plan,
        2,
        m.PlanReply(copies=2),
        [m.PlanAnswer(DIGEST, write_ticket())],
    )
    yield request("Client to node 1: Hello", 1, m.Hello(role=m.Role.TICKET))
    yield request("Client to node 1: the chunk", 2, m.PutChunk(ticket=write_ticket()), raw=CONTENT)
    yield reply(
        "Node 1 to client: durable on both nodes", m.PutChunk, 2, m.PutChunkReply(receipts=[receipt(1), receipt(2)])
    )
    version = m.FileCommit(
        "/hello.txt",
        m.EXPECT_ANY,
        len(CONTENT),
        DIGEST,
        MTIME_NS,
        0o644,
        [m.Extent(DIGEST, len(CONTENT), 0, len(CONTENT))],
    )
    yield request(
        "Client to master: make it visible",
        3,
        m.Commit(request_id=REQUEST_ID),
        m.CommitBody([version], [receipt(1), receipt(2)]),
    )
    yield reply("Master to client: done", m.Commit, 3, m.OutcomesReply(), [m.Outcome(VERSION)])
    yield from _download()


def _download() -> Iterator[Sample]:
    yield request("Client to master: open it", 4, m.Open(path="/hello.txt"))
    opened = m.OpenReply(
        version=VERSION,
        size=len(CONTENT),
        digest=DIGEST,
        mtime_ns=MTIME_NS,
        mode=0o644,
        expires_at_ms=NOW_MS + 360_000,
        time_ms=NOW_MS + 60_000,
    )
    replicas = [
        m.ReplicaTicket(number, f"node-{number}", f"127.0.0.1:500{number}", read_mac(number)) for number in (2, 1)
    ]
    yield reply(
        "Master to client: one extent, two replicas",
        m.Open,
        4,
        opened,
        [m.OpenExtent(0, DIGEST, len(CONTENT), 0, len(CONTENT), replicas)],
    )
    ticket = m.ReadTicket(DIGEST, 2, NOW_MS + 360_000, read_mac(2))
    yield request("Client to node 2: read the chunk", 2, m.GetChunk(ticket=ticket))
    yield reply(
        "Node 2 to client: the chunk",
        m.GetChunk,
        2,
        m.GetChunkReply(
            size=len(CONTENT),
            generation=GENERATION,
            offset=0,
            length=len(CONTENT),
            block_crcs=crc32c(CONTENT).to_bytes(4, "big"),
        ),
        raw=CONTENT,
    )
    go_on = frame.encode_head(Kind.GO_ON, BY_REQUEST[m.PutChunk].number, 3, b"", 0)
    yield Sample("Node to client, during a put of more than 1 MiB: GO_ON", go_on, None)
    error = error_header(NotFoundError("/nothing does not exist"))
    yield _sample("Master to client: an error", Kind.ERROR, BY_REQUEST[m.Stat].number, 5, error, None, None)


def hex_dump(data: bytes) -> str:
    """Offset, bytes, and what is printable of them."""
    lines = []
    for start in range(0, len(data), _ONE_LINE_BYTES):
        part = data[start : start + _ONE_LINE_BYTES]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        lines.append(f"{start:04x}  {part.hex(' '):<47}  {text}")
    return "\n".join(lines)


def _plain(value: object) -> str:
    """A value as the page shows it: texts in quotes, bytes as hex."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_plain(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_plain(each) for each in value) + "]"
    if isinstance(value, bytes):
        return f"h'{value.hex()}'"
    if isinstance(value, str):
        return f'"{value}"'
    return "nil" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _decoded(sample: Sample) -> str:
    if sample.header is None:
        return "No header, no body."
    header = _plain(msgspec.msgpack.decode(encode(sample.header)))
    if sample.body is None:
        return f"header  {header}"
    if isinstance(sample.body, bytes):
        return f"header  {header}\nbody    the {len(sample.body)} bytes of the chunk"
    return f"header  {header}\nbody    {_plain(msgspec.msgpack.decode(encode(sample.body)))}"


def _vectors() -> str:
    """The keys and MACs behind the samples."""
    order = m.HeartbeatReply(epoch=1, commit_seq=7, time_ms=NOW_MS)
    values = {
        "master.key": MASTER_KEY,
        "node key of node 1": node_key(1),
        "node key of node 2": node_key(2),
        "hello, node 1": tickets.hello_mac(node_key(1), CLUSTER_ID, 1),
        "write ticket, hop 0 (node 1)": write_ticket().hops[0].mac,
        "write ticket, hop 1 (node 2)": write_ticket().hops[1].mac,
        "read ticket, node 2": read_mac(2),
        "receipt, node 1": receipt(1).mac,
        "order, node 1, epoch 1, commit_seq 7, empty array": tickets.order_mac(
            node_key(1), CLUSTER_ID, 1, order, encode([])
        ),
        "join token": JOIN_TOKEN,
        "join, over the nonce of the ticket": tickets.join_proof(JOIN_TOKEN, NONCE),
    }
    return "\n".join(f"{name:<52}{value.hex()}" for name, value in values.items())


def samples() -> str:
    """All of them as Markdown."""
    parts = [
        f"The chunk is the {len(CONTENT)} bytes `Hello, dfs!\\n`; its BLAKE3 digest is `{DIGEST.hex()}`, its CRC32C "
        f"`{crc32c(CONTENT):08x}`. Bytes are written `h'…'`. Keys and MACs of the samples:\n",
        f"```text\n{_vectors()}\n```\n",
    ]
    for sample in exchanges():
        parts.append(f"**{sample.title}**\n\n```text\n{_decoded(sample)}\n\n{hex_dump(sample.data)}\n```\n")
    return "\n".join(parts).rstrip("\n")
