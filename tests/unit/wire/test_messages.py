"""Messages: every struct comes back as it was, versions may differ by a field, nonsense is a `ProtocolError`."""

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.wire_values import HEADERS, ITEMS, STRUCTS, structs_of, values_of

from dfs_wire import messages as m
from dfs_wire.codec import decode, encode, encode_list
from dfs_wire.errors import ProtocolError, TooLargeError
from dfs_wire.limits import LIST_BODY_BYTES_MAX


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_every_struct_comes_back(kind: type[msgspec.Struct]) -> None:
    """Encode and decode are each other's reverse, with all fields given and with all defaults."""

    @settings(max_examples=40)
    @given(values_of(kind))
    def comes_back(value: msgspec.Struct) -> None:
        assert decode(encode(value), kind) == value

    comes_back()


@pytest.mark.parametrize("kind", HEADERS, ids=lambda kind: kind.__name__)
def test_headers_are_maps_without_defaults(kind: type[m.Header]) -> None:
    """A header is a map by field name; what has its default value is left out."""

    @settings(max_examples=40)
    @given(structs_of(kind, required_only=True))
    def is_a_map(value: m.Header) -> None:
        raw = msgspec.msgpack.decode(encode(value))
        assert isinstance(raw, dict)
        assert set(raw) <= {field.name for field in msgspec.structs.fields(kind) if field.required}

    is_a_map()


@pytest.mark.parametrize("kind", HEADERS, ids=lambda kind: kind.__name__)
def test_headers_of_a_newer_version_are_understood(kind: type[m.Header]) -> None:
    """A field that this version does not know is ignored."""

    @settings(max_examples=40)
    @given(structs_of(kind, required_only=True))
    def is_ignored(value: m.Header) -> None:
        raw = {**msgspec.msgpack.decode(encode(value)), "field_of_tomorrow": [1, {"a": b"b"}]}
        assert decode(msgspec.msgpack.encode(raw), kind) == value

    is_ignored()


@pytest.mark.parametrize("kind", ITEMS, ids=lambda kind: kind.__name__)
def test_items_are_arrays_that_may_grow(kind: type[m.Item]) -> None:
    """An item is an array in the order of its fields; fields that a newer version appended are ignored."""

    @settings(max_examples=40)
    @given(structs_of(kind))
    def grows(value: m.Item) -> None:
        raw = msgspec.msgpack.decode(encode(value))
        assert isinstance(raw, list)
        assert len(raw) == len(msgspec.structs.fields(kind))
        assert decode(msgspec.msgpack.encode([*raw, "appended tomorrow"]), kind) == value

    grows()


@pytest.mark.parametrize("kind", ITEMS, ids=lambda kind: kind.__name__)
def test_optional_fields_of_items_come_last(kind: type[m.Item]) -> None:
    """So an older sender's shorter array is understood."""
    required = [field.required for field in msgspec.structs.fields(kind)]
    assert required == sorted(required, reverse=True)


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_nonsense_is_a_protocol_error(kind: type[msgspec.Struct]) -> None:
    """Whatever the bytes are, nothing else escapes."""
    deep = b"\x91" * 100_000

    @settings(max_examples=40)
    @given(st.binary(max_size=60))
    def is_refused(data: bytes) -> None:
        with contextlib.suppress(ProtocolError):
            assert isinstance(decode(data, kind), kind)

    is_refused()
    with pytest.raises(ProtocolError):
        decode(deep, kind)


@pytest.mark.parametrize(
    "data",
    [
        msgspec.msgpack.encode({"role": "emperor"}),
        msgspec.msgpack.encode({"role": 1}),
        msgspec.msgpack.encode({}),
        msgspec.msgpack.encode({"role": "client", "node_id": "1"}),
        msgspec.msgpack.encode({"role": "client", "credential": "text"}),
        msgspec.msgpack.encode({"role": "client"}) + b"\x00",
        b"\x81\xa4role\xa6\xff\xfe\xfd\xfc\xfb\xfa",
        b"",
    ],
)
def test_wrong_types_are_named(data: bytes) -> None:
    """Types are strict: no number for a text, no text for bytes, nothing behind the end."""
    with pytest.raises(ProtocolError, match="Hello"):
        decode(data, m.Hello)


def test_lists_have_a_limit() -> None:
    """Nobody builds a body that no peer would take."""
    assert len(encode_list([b"x" * 1000] * 8_000)) < LIST_BODY_BYTES_MAX
    with pytest.raises(TooLargeError):
        encode_list([b"x" * 1000] * 9_000)


def test_the_struct_of_every_list_is_documented_on_its_request() -> None:
    """Docstrings name what travels in bodies; the protocol page is made from them."""
    for kind in STRUCTS:
        assert kind.__doc__, kind
