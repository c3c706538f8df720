"""What all messages are made of."""

import msgspec


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every request and reply."""


class Item(msgspec.Struct, frozen=True, array_like=True):
    """Base of what lists are made of."""
