"""Any value of any message, for property tests."""

import enum
import inspect
import types
import typing
from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st

from dfs_wire import messages as m

STRUCTS: list[type[msgspec.Struct]] = [
    kind
    for _, kind in inspect.getmembers(m, inspect.isclass)
    if issubclass(kind, msgspec.Struct) and kind not in (m.Header, m.Item)
]
HEADERS = [kind for kind in STRUCTS if issubclass(kind, m.Header)]
ITEMS = [kind for kind in STRUCTS if issubclass(kind, m.Item)]

_PLAIN: dict[object, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    str: st.text(max_size=20),
    bytes: st.binary(max_size=40),
    dict[str, object]: st.dictionaries(st.text(max_size=8), st.integers(0, 9) | st.text(max_size=8), max_size=3),
}


@cache
def values_of(kind: object) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return structs_of(kind) | structs_of(kind, required_only=True)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return st.lists(values_of(arguments[0]), max_size=3)
    if origin is types.UnionType:
        return st.one_of(*(st.none() if each is types.NoneType else values_of(each) for each in arguments))
    raise TypeError(f"no values are known for a field of type {kind}")


def structs_of(kind: type[msgspec.Struct], *, required_only: bool = False) -> st.SearchStrategy[Any]:
    """Instances, with all fields given or with every default left alone."""
    hints = typing.get_type_hints(kind)
    fields = [field for field in msgspec.structs.fields(kind) if field.required or not required_only]
    return st.builds(kind, **{field.name: values_of(hints[field.name]) for field in fields})
