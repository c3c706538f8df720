"""A network without sockets: calls are delivered, lost on the way, or lost on the way back, as the seed says."""

import random
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from dfs_master.service import MasterService
from dfs_node.handlers import NodeHandlers
from dfs_runtime.clock import Clock
from dfs_wire.channel import Answer, Channel, GetStream, PutStream
from dfs_wire.codec import decode, encode, error_header, raise_error
from dfs_wire.errors import ConnectFailedError, DfsError, ProtocolError, TimedOutError
from dfs_wire.limits import REPLY_SECONDS
from dfs_wire.messages import GetChunk, GetChunkReply, Header, Hello, HelloReply, PutChunk, PutChunkReply
from dfs_wire.service import ChunkAnswer, Session, authorise, find_rule
from dfs_wire.verbs import BY_REQUEST, Server

R = TypeVar("R", bound=Header)
Note = Callable[..., None]


class Endpoint(Protocol):
    """A process that is called."""

    server: Server

    def call(self, session: Session, request: Header, body: bytes) -> Answer[Any]: ...


class MasterEndpoint:
    """The real service; the committer serves when everything of a request was handed in."""

    server = Server.MASTER

    def __init__(self, service: MasterService, serve_waiting: Callable[[], None]) -> None:
        self._service = service
        self._serve_waiting = serve_waiting

    def call(self, session: Session, request: Header, body: bytes) -> Answer[Any]:
        known = self._service.recall(type(request), encode(request))
        if known is not None:
            return Answer(decode(known, BY_REQUEST[type(request)].reply))
        answers: list[Answer[Any] | BaseException] = []
        self._service.serve(session, request, body, answers.append)
        self._serve_waiting()
        if not answers:
            raise TimedOutError("the master waits for nodes")
        if isinstance(answers[0], BaseException):
            raise answers[0]
        return answers[0]


class NodeEndpoint:
    """The real handlers of a node."""

    server = Server.NODE

    def __init__(self, handlers: NodeHandlers) -> None:
        self.handlers = handlers
        self._table = handlers.table()

    def call(self, session: Session, request: Header, body: bytes) -> Answer[Any]:
        if isinstance(request, Hello):
            return Answer(self.handlers.hello(session, request))
        return self._table[type(request)](session, request, body)


class Network:
    """Who is there, and how badly messages fare. Used by one thread."""

    def __init__(self, clock: Clock, randomness: random.Random, note: Note) -> None:
        self.clock = clock
        self.random = randomness
        self.note = note
        self.loss = 0.0
        self._endpoints: dict[str, Endpoint] = {}
        self._cut: set[tuple[str, str]] = set()

    def attach(self, address: str, endpoint: Endpoint) -> None:
        """A process listens."""
        self._endpoints[address] = endpoint

    def detach(self, address: str) -> None:
        """It does not any more."""
        self._endpoints.pop(address, None)

    def endpoint(self, address: str) -> Endpoint | None:
        """Who listens there now."""
        return self._endpoints.get(address)

    def cut(self, source: str, target: str) -> None:
        """Nothing passes from one to the other."""
        self._cut.add((source, target))

    def heal(self) -> None:
        """All links work."""
        self.loss = 0.0
        self._cut.clear()

    def seen_from(self, name: str) -> "SimulatedDialer":
        """How one process dials."""
        return SimulatedDialer(self, name)

    def lost(self, source: str, target: str) -> bool:
        """Whether one message is."""
        return (source, target.split(":")[0]) in self._cut or self.random.random() < self.loss


class SimulatedDialer:
    """`Dialer` of one process."""

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._name = name

    def dial(self, address: str, hello: Hello) -> Channel:
        endpoint = self._network.endpoint(address)
        if endpoint is None or self._network.lost(self._name, address):
            self._network.clock.sleep(0.01)
            raise ConnectFailedError(f"nobody answers at {address}")
        channel = SimulatedChannel(self._network, self._name, address, endpoint)
        channel.hello = channel.call(hello, HelloReply).header
        channel.session.role, channel.session.address_set = hello.role, hello.address_set
        return channel


class SimulatedChannel:
    """`Channel` to one life of a process: when it crashes, the channel is dead, even if a new one listens there."""

    hello: HelloReply

    def __init__(self, network: Network, source: str, address: str, endpoint: Endpoint) -> None:
        self._network = network
        self._source = source
        self._address = address
        self._endpoint = endpoint
        self._open = True
        self.session = Session(f"{source}:1")

    def call(self, request: Header, reply: type[R], body: bytes = b"", *, seconds: float = REPLY_SECONDS) -> Answer[R]:
        rule = BY_REQUEST[type(request)]
        self._travel("request", rule.name)
        try:
            find_rule(rule.number, self._endpoint.server)
            authorise(self.session, rule)
            answer = self._endpoint.call(self.session, decode(encode(request), rule.request), body)
            header, data = encode(answer.header), answer.body
        except DfsError as error:
            self._travel("error", rule.name)
            raise raise_error(encode(error_header(error))) from None
        self._travel("reply", rule.name)
        return Answer(decode(header, reply), data)

    def put(self, request: PutChunk, *, seconds: float = REPLY_SECONDS) -> PutStream:
        self._travel("request", "PutChunk")
        return _Put(self, request)

    def get(self, request: GetChunk, *, seconds: float = REPLY_SECONDS) -> GetStream:
        self._travel("request", "GetChunk")
        handlers = self.node()
        try:
            authorise(self.session, BY_REQUEST[GetChunk])
            answer = handlers.get_chunk(self.session, decode(encode(request), GetChunk))
        except DfsError as error:
            raise raise_error(encode(error_header(error))) from None
        return _Get(self, answer)

    def usable(self) -> bool:
        return self._open and self._network.endpoint(self._address) is self._endpoint

    def close(self) -> None:
        if self._open:
            self._open = False
            for callback in self.session.on_close:
                callback()

    def node(self) -> NodeHandlers:
        """The chunk verbs of the process at the other end."""
        if not isinstance(self._endpoint, NodeEndpoint):
            raise ProtocolError("chunks go to nodes")
        return self._endpoint.handlers

    def _travel(self, what: str, verb: str) -> None:
        """One message on its way; it may be lost, and then nobody knows where."""
        self._network.clock.sleep(0.0001 + self._network.random.random() * 0.001)
        lost = not self.usable() or self._network.lost(self._source, self._address)
        self._network.note(self._source, self._address, what, verb, lost)
        if lost:
            self.close()
            raise ConnectFailedError(f"the connection to {self._address} broke")

    def travel_back(self) -> None:
        """The reply to a put."""
        self._travel("reply", "PutChunk")


class _Body:
    """`ChunkBody` that may end early."""

    def __init__(self, data: bytes, cut_at: int | None) -> None:
        self.size = len(data)
        self._data = data
        self._at = 0
        self._cut_at = cut_at

    def go_on(self) -> None:
        return None

    def read_into(self, buffer: memoryview) -> int:
        if self._cut_at is not None and self._at >= self._cut_at:
            raise ConnectFailedError("the sender went away")
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


class _Put:
    """`PutStream`: collects, and delivers at `finish`; lost in the middle, the node sees a short body."""

    def __init__(self, channel: SimulatedChannel, request: PutChunk) -> None:
        self._channel = channel
        self._request = request
        self._data = bytearray()

    def write(self, block: bytes | bytearray | memoryview) -> None:
        self._data += block

    def finish(self) -> PutChunkReply:
        network = self._channel._network
        cut_at = network.random.randrange(len(self._data) + 1) if network.random.random() < network.loss else None
        try:
            authorise(self._channel.session, BY_REQUEST[PutChunk])
            request = decode(encode(self._request), PutChunk)
            reply = self._channel.node().put_chunk(self._channel.session, request, _Body(bytes(self._data), cut_at))
        except DfsError as error:
            if cut_at is not None:
                self.abort()
                raise ConnectFailedError("the connection broke in the middle of a chunk") from None
            raise raise_error(encode(error_header(error))) from None
        self._channel.travel_back()
        return decode(encode(reply), PutChunkReply)

    def abort(self) -> None:
        self._channel.close()


class _Get:
    """`GetStream` over what the node opened."""

    def __init__(self, channel: SimulatedChannel, answer: ChunkAnswer) -> None:
        self.header: GetChunkReply = decode(encode(answer.header), GetChunkReply)
        self._data = memoryview(answer.source.read(0, answer.header.length))
        answer.source.close()
        network = channel._network
        lost = network.random.random() < network.loss
        self._cut_at = network.random.randrange(len(self._data) + 1) if lost else None
        self._channel = channel
        self._at = 0

    def read_into(self, buffer: memoryview) -> int:
        if self._cut_at is not None and self._at >= self._cut_at:
            self._channel.close()
            raise ConnectFailedError("the node went away")
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def close(self) -> None:
        return None
