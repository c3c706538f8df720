"""Errors keep their kind across the network."""

import re

import pytest

from dfs_wire import errors
from dfs_wire.codec import decode, encode, error_header, raise_error
from dfs_wire.errors import ERRORS, DfsError, InternalError, error_from_wire
from dfs_wire.messages import ErrorReply

EXIT_CODES = {0, 1, 2, 3, 4, 5, 6, 7, 130}
DETAILS = {"digests": [b"a" * 32, b"b" * 32], "live": 1, "finding": "another digest", "sure": True}


@pytest.mark.parametrize("kind", ERRORS.values(), ids=lambda kind: kind.__name__)
def test_every_class_comes_back(kind: type[DfsError]) -> None:
    """Class, code, exit code, sentence, details and the leave to retry are the same on the other side."""
    sent = kind("something is wrong; do this", **DETAILS)
    received = raise_error(encode(error_header(sent)))
    assert type(received) is kind
    assert (received.code, received.exit_code, received.retryable) == (sent.code, sent.exit_code, sent.retryable)
    assert (received.message, received.details) == (sent.message, DETAILS)
    assert str(received) == sent.message


@pytest.mark.parametrize("kind", ERRORS.values(), ids=lambda kind: kind.__name__)
def test_every_class_has_an_exit_code_of_the_table(kind: type[DfsError]) -> None:
    """Commands end with one of the documented numbers, and never with 0."""
    assert kind.exit_code in EXIT_CODES - {0}
    assert kind.__doc__


def test_codes_are_unique_and_stand_in_the_tree() -> None:
    """One code, one class; the drawing at the top of the module has every line."""
    kinds = list(ERRORS.values())
    assert len({kind.code for kind in kinds}) == len(kinds)
    drawn = re.findall(r"(\w+Error) +(\w+) +(\d+)(?: +(retryable))?", errors.__doc__ or "")
    assert {line[0]: line[1:] for line in drawn} == {
        kind.__name__: (kind.code, str(kind.exit_code), "retryable" if kind.retryable else "")
        for kind in kinds
        if kind is not DfsError
    }


def test_a_code_of_tomorrow_is_a_plain_error() -> None:
    """What this version does not know keeps its sentence and its details."""
    found = error_from_wire("quota_exceeded", "your quota is used up; delete something", {"bytes": 5})
    assert type(found) is DfsError
    assert found.message == "your quota is used up; delete something"
    assert found.details == {"bytes": 5}


@pytest.mark.parametrize("name", ["message", "self", "code", "details", "args", "with space"])
def test_details_may_have_any_name(name: str) -> None:
    """A peer's choice of a name never turns an error into a crash."""
    found = error_from_wire("busy", "all slots are taken", {name: 1})
    assert found.message == "all slots are taken"
    assert found.details == {name: 1}


def test_a_fault_of_ours_tells_nothing() -> None:
    """Whatever a handler raised by mistake crosses as `internal`, without its text."""
    header = error_header(KeyError("the admin key is 1234"))
    assert isinstance(header, ErrorReply)
    assert header.code == InternalError.code
    assert "1234" not in header.message


def test_the_reply_says_whether_to_try_again() -> None:
    """For clients that do not know the table."""
    assert decode(encode(error_header(errors.BusyError("x"))), ErrorReply).retryable
    assert not decode(encode(error_header(errors.NotFoundError("x"))), ErrorReply).retryable
