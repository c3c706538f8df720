"""Headers and list bodies to bytes and back, checked against their types."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from dfs_wire.errors import DfsError, InternalError, ProtocolError, TooLargeError, error_from_wire
from dfs_wire.limits import LIST_BODY_BYTES_MAX
from dfs_wire.messages import ErrorReply, Header

T = TypeVar("T")

_ENCODER = msgspec.msgpack.Encoder()


class _Decoders(dict[Any, msgspec.msgpack.Decoder[Any]]):
    """Decoders are made once a type: that costs more than a decode."""

    def __missing__(self, kind: object) -> msgspec.msgpack.Decoder[Any]:
        decoder = self[kind] = msgspec.msgpack.Decoder(kind)
        return decoder


_DECODERS = _Decoders()

#: A header, or the list of a body, as msgpack.
encode: Callable[[object], bytes] = _ENCODER.encode


def decode(data: bytes | bytearray | memoryview, kind: type[T]) -> T:
    """Check and rebuild what a peer sent.

    Raises:
        ProtocolError: the bytes are not a `kind`; the message names the field.
    """
    try:
        value: T = _DECODERS[kind].decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"a malformed {getattr(kind, '__name__', kind)}: {error}") from error
    return value


def encode_list(items: object) -> bytes:
    """A list body.

    Raises:
        TooLargeError: over the limit; the caller should have cut it into pages.
    """
    data = encode(items)
    if len(data) > LIST_BODY_BYTES_MAX:
        raise TooLargeError(f"a list of {len(data)} bytes is over the limit of {LIST_BODY_BYTES_MAX}")
    return data


def error_header(error: BaseException) -> Header:
    """The error frame's header for whatever a handler raised."""
    if not isinstance(error, DfsError):
        error = InternalError("the server failed on this request; its log has the details")
    return ErrorReply(code=error.code, message=error.message, details=error.details, retryable=error.retryable)


def raise_error(header: bytes | bytearray | memoryview) -> DfsError:
    """The error that an error frame carries, for the caller to raise."""
    reply = decode(header, ErrorReply)
    return error_from_wire(reply.code, reply.message, reply.details)
