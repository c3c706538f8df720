"""A master made of a few fields, for a node's link: it registers, answers heartbeats, and can be made to misbehave."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from tests.support.nodes import CLUSTER, JOIN_TOKEN, key_of

from dfs_runtime.clock import Clock
from dfs_wire import messages as m
from dfs_wire import tickets
from dfs_wire.channel import Answer, GetStream, PutStream
from dfs_wire.codec import decode, encode
from dfs_wire.errors import BadCredentialError, ConnectFailedError, DfsError

R = TypeVar("R", bound=m.Header)


@dataclass
class FakeMaster:
    """A `Dialer` that leads to itself. What it was told is in `registers`, `beats` and `findings`."""

    clock: Clock
    cluster_id: str = CLUSTER
    epoch: int = 1
    commit_seq: int = 1
    node_id: int = 7
    reachable: bool = True
    refuse_register: DfsError | None = None
    refuse_beat: DfsError | None = None
    signs_with: bytes | None = None
    #: scrub_seconds, scrub_bytes_per_second, inventory_seconds; zeros: none are given.
    rules: tuple[int, int, int] = (0, 0, 0)
    again_seconds = 0.0
    rules_signed_with: bytes | None = None
    orders: list[m.Order] = field(default_factory=list)
    hellos: list[m.Hello] = field(default_factory=list)
    registers: list[m.Register] = field(default_factory=list)
    beats: list[m.Heartbeat] = field(default_factory=list)
    findings: list[m.Finding] = field(default_factory=list)
    channels: list["_MasterChannel"] = field(default_factory=list)

    def dial(self, address: str, hello: m.Hello) -> "_MasterChannel":
        if not self.reachable:
            raise ConnectFailedError(f"cannot connect to {address}")
        self.hellos.append(hello)
        joins = hello.role is m.Role.JOIN and hello.credential == JOIN_TOKEN
        expected = tickets.hello_mac(key_of(self.node_id), CLUSTER, self.node_id)
        if not joins and not (hello.role is m.Role.NODE and hello.credential == expected):
            raise BadCredentialError("the key is not one of this cluster's")
        self.channels.append(_MasterChannel(self))
        return self.channels[-1]

    def answer(self, request: m.Header, body: bytes) -> Answer[Any]:
        if not self.reachable:
            raise ConnectFailedError("the connection broke")
        if isinstance(request, m.Register):
            return self._register(request)
        assert isinstance(request, m.Heartbeat)
        return self._beat(request, body)

    def _register(self, request: m.Register) -> Answer[m.RegisterReply]:
        self.registers.append(request)
        if self.refuse_register is not None:
            raise self.refuse_register
        reply = m.RegisterReply(
            node_id=self.node_id,
            node_key=key_of(self.node_id) if request.node_id == 0 else b"",
            cluster_id=self.cluster_id,
            epoch=self.epoch,
            commit_seq=self.commit_seq,
            time_ms=self.clock.wall_ms(),
            heartbeat_seconds=3.0,
        )
        return Answer(reply)

    def _beat(self, request: m.Heartbeat, body: bytes) -> Answer[m.HeartbeatReply]:
        self.beats.append(request)
        if self.refuse_beat is not None:
            raise self.refuse_beat
        self.findings += decode(body, list[m.Finding])
        orders, self.orders = encode(self.orders), []
        scrub_seconds, scrub_rate, inventory_seconds = self.rules
        reply = m.HeartbeatReply(
            epoch=self.epoch,
            commit_seq=self.commit_seq,
            time_ms=self.clock.wall_ms(),
            scrub_seconds=scrub_seconds,
            scrub_bytes_per_second=scrub_rate,
            inventory_seconds=inventory_seconds,
            again_seconds=self.again_seconds,
        )
        key = self.signs_with or key_of(self.node_id)
        mac = tickets.order_mac(key, self.cluster_id, self.node_id, reply, orders)
        rules_mac = b""
        if any(self.rules):
            rules_key = self.rules_signed_with or key
            rules_mac = tickets.rules_mac(rules_key, self.cluster_id, self.node_id, reply)
        return Answer(msgspec.structs.replace(reply, mac=mac, rules_mac=rules_mac), orders)


class _MasterChannel:
    """A channel to the fake master."""

    def __init__(self, master: FakeMaster) -> None:
        self._master = master
        self.closed = False
        self.hello = m.HelloReply(cluster_id=master.cluster_id)

    def call(self, request: m.Header, reply: type[R], body: bytes = b"", *, seconds: float = 30.0) -> Answer[R]:
        assert not self.closed
        return self._master.answer(request, body)

    def put(self, request: m.PutChunk, *, seconds: float = 30.0) -> PutStream:
        raise NotImplementedError

    def get(self, request: m.GetChunk, *, seconds: float = 30.0) -> GetStream:
        raise NotImplementedError

    def usable(self) -> bool:
        return not self.closed

    def close(self) -> None:
        self.closed = True
