"""How a connection begins, and what both servers answer."""

from enum import StrEnum

from dfs_wire.messages.base import Header


class Role(StrEnum):
    """Who a connection speaks for."""

    CLIENT = "client"
    ADMIN = "admin"
    #: A node that has no identity yet and holds a join token.
    JOIN = "join"
    #: A registered node; the credential is `tickets.hello_mac`.
    NODE = "node"
    #: Anybody, at a node: each request carries its own ticket.
    TICKET = "ticket"
    #: A connection before its Hello.
    STRANGER = "stranger"


class AddressSet(StrEnum):
    """Which of a node's two addresses the caller can reach."""

    PUBLIC = "public"
    CLUSTER = "cluster"


class Hello(Header, frozen=True, kw_only=True):
    """The first request of every connection."""

    role: Role
    credential: bytes = b""
    node_id: int = 0
    address_set: AddressSet = AddressSet.PUBLIC
    software: str = ""


class HelloReply(Header, frozen=True, kw_only=True):
    """The peer accepted the credential."""

    cluster_id: str
    epoch: int = 0
    time_ms: int = 0
    software: str = ""


class Ping(Header, frozen=True, kw_only=True):
    """Does the peer serve?"""


class Done(Header, frozen=True, kw_only=True):
    """The reply that carries nothing."""


class ErrorReply(Header, frozen=True, kw_only=True):
    """Header of every error frame."""

    code: str
    message: str
    details: dict[str, object] = {}
    retryable: bool = False
