"""The protocol page is the protocol: its tables come from the code, its samples decode, its examples run."""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from docs import protocol_samples, protocol_tables, protocol_words
from tests.support.lines import line_master
from tests.support.wire_values import HEADERS, STRUCTS

from dfs_master import line_protocol
from dfs_wire import event_connection, event_listener, frame, limits, tickets
from dfs_wire import messages as m
from dfs_wire.codec import decode
from dfs_wire.errors import ERRORS, DfsError
from dfs_wire.frame import Kind
from dfs_wire.limits import HEADER_BYTES_MAX
from dfs_wire.parser import Frame, FrameParser
from dfs_wire.verbs import BY_NUMBER, RULES, Body

PAGE = protocol_tables.PAGE.read_text(encoding="utf-8")

#: What travels in the bodies of the samples.
REQUEST_BODIES: dict[type[m.Header], object] = {m.Plan: m.PlanBody, m.Commit: m.CommitBody}
REPLY_BODIES: dict[type[m.Header], object] = {
    m.Plan: list[m.PlanAnswer],
    m.Commit: list[m.Outcome],
    m.Open: list[m.OpenExtent],
}


def section(title: str) -> str:
    """The text below a heading, up to the next one of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,6}} )", PAGE + "\n# end\n", re.DOTALL | re.MULTILINE)
    assert found, f"the page has no section {title!r}"
    return found[2]


def test_the_page_is_as_the_code_is() -> None:
    """`python docs/protocol_tables.py` would change nothing."""
    assert protocol_tables.rendered(PAGE) == PAGE, "run: python docs/protocol_tables.py"


def test_every_block_stands_on_the_page() -> None:
    """Nothing that is made is left out."""
    assert {name for name in protocol_tables.BLOCKS if f"<!-- {name} -->" in PAGE} == set(protocol_tables.BLOCKS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_verb_stands_there(rule: protocol_tables.Rule) -> None:
    """With its number, every field of its request and its reply, its roles, and what is in its bodies."""
    text = section(f"{rule.number} {rule.name}")
    for kind in (rule.request, rule.reply):
        assert f"`{kind.__name__}`" in text
        for field in msgspec.structs.fields(kind):
            assert f"| `{field.name}` |" in text
    assert all(role.value in text for role in rule.roles)
    assert ("Request body:" in text) == (rule.body is not Body.NONE)
    assert ("Reply body:" in text) == (rule.reply_body is not Body.NONE)


@pytest.mark.parametrize("kind", [kind for kind in STRUCTS if kind not in HEADERS], ids=lambda kind: kind.__name__)
def test_every_item_stands_there(kind: type[msgspec.Struct]) -> None:
    """With its fields in the order of the array."""
    text = section(kind.__name__)
    places = [text.index(f"`{field.name}` |") for field in msgspec.structs.fields(kind)]
    assert places == sorted(places)


def test_every_error_code_stands_there() -> None:
    """With its exit code, and whether to try again."""
    text = section("5. Errors")
    for kind in ERRORS.values():
        if kind is not DfsError:
            assert f"| `{kind.code}` | {kind.exit_code} | {'yes' if kind.retryable else ''} |" in text


def test_every_limit_stands_there() -> None:
    """A number that both sides rely on is no secret; the words for one that is gone are gone as well."""
    units = {"KIB", "MIB", "GIB"}
    assert set(protocol_words.LIMITS) == {name for name in vars(limits) if name.isupper()} - units


def test_no_word_is_left_over() -> None:
    """Every meaning that is written down belongs to a field that there is."""
    used = {
        name
        for kind in STRUCTS
        for field in msgspec.structs.fields(kind)
        for name in (f"{kind.__name__}.{field.name}", field.name)
    }
    assert set(protocol_words.FIELDS) <= used
    assert set(protocol_words.ERROR_DETAILS) <= set(ERRORS)


def test_numbers_in_the_text_are_the_codes() -> None:
    """What the prose says of times and counts is what the programs do."""
    for sentence in (
        f"at most {event_connection.PENDING_MAX}; further ones",
        f"within {event_listener.FRAME_SECONDS:.0f} seconds at the master",
        f"reads on for {['', 'one', 'two'][int(event_listener.LINGER_SECONDS)]} seconds",
        f"A request line has at most {line_protocol.LINE_BYTES_MAX:,} bytes",
        f"whose line does not come whole within {line_protocol.LINE_SECONDS:.0f} seconds",
        f"silent for {line_protocol.BODY_SECONDS:.0f} later on",
        f"at most {limits.RENEW_RECEIPTS_MAX:,} receipts",
        f"for chunks of {limits.RENEW_CHUNK_BYTES_MAX // limits.MIB} MiB together",
        f"`{tickets._KEY_CONTEXT}`",
        f"at most 1 MiB ({limits.EAGER_BODY_BYTES_MAX:,} bytes)",
        f"to whole blocks of {limits.BLOCK_BYTES:,} bytes",
    ):
        assert sentence in PAGE.replace("\n", " ").replace("  ", " "), sentence


# -- samples -----------------------------------------------------------------------------------------------------


def dumps() -> Iterator[tuple[str, bytes]]:
    """Title and bytes of every hex dump on the page."""
    for title, block in re.findall(r"\*\*([^*]+)\*\*\n\n```text\n(.*?)```", section("14. Samples"), re.DOTALL):
        lines = re.findall(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+)", block, re.MULTILINE)
        yield title, bytes.fromhex("".join(lines))


def parsed(data: bytes) -> Frame:
    """The one frame of a dump; a chunk's body has no checksum in the frame."""
    head = frame.decode_head(data)
    rule = BY_NUMBER[head.verb]
    if Body.CHUNK in (rule.body, rule.reply_body):
        end = frame.FIXED_BYTES + head.header_bytes
        header = data[frame.FIXED_BYTES : end]
        frame.check_header(data[: frame.FIXED_BYTES], header, head)
        assert len(data) == end + head.body_bytes
        return Frame(head, header, data[end:])
    parser = FrameParser()
    parser.greeted(HEADER_BYTES_MAX)
    parser.feed(data)
    found = parser.next_frame()
    assert found is not None
    assert parser.held_bytes == 0
    return found


def test_every_sample_decodes() -> None:
    """The dumps on the page are whole frames, and say what the story says."""
    found = [parsed(data) for _, data in dumps()]
    expected = list(protocol_samples.exchanges())
    assert len(found) == len(expected) >= 15
    for got, sample in zip(found, expected, strict=True):
        rule = BY_NUMBER[got.head.verb]
        kind = got.head.kind
        if kind is Kind.GO_ON:
            assert (got.header, got.body) == (b"", b"")
        elif kind is Kind.ERROR:
            assert decode(got.header, m.ErrorReply) == sample.header
        else:
            request = kind is Kind.REQUEST
            assert decode(got.header, rule.request if request else rule.reply) == sample.header
            body = (REQUEST_BODIES if request else REPLY_BODIES).get(rule.request)
            if body is not None:
                assert decode(got.body, body) == sample.body  # type: ignore[arg-type]


def test_the_tickets_of_the_samples_are_good() -> None:
    """Whoever computes a MAC by the page gets what the page shows."""
    now_ms = protocol_samples.NOW_MS
    cluster_id = protocol_samples.CLUSTER_ID
    frames = [parsed(data) for _, data in dumps()]
    put = next(decode(each.header, m.PutChunk) for each in frames if each.head.verb == 30)
    for place, node_id in enumerate((1, 2)):
        key = protocol_samples.node_key(node_id)
        tickets.check_write_ticket(key, cluster_id, node_id, put.ticket, place, now_ms)
        tickets.check_receipt(key, cluster_id, protocol_samples.receipt(node_id), now_ms)
        assert key.hex() in PAGE
    get = next(decode(each.header, m.GetChunk) for each in frames if each.head.verb == 31)
    tickets.check_read_ticket(protocol_samples.node_key(2), cluster_id, 2, get.ticket, now_ms)


# -- the line protocol -------------------------------------------------------------------------------------------


def test_the_python_example_runs(tmp_path: Path) -> None:
    """As printed, but for the port."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    printed = io.StringIO()
    with line_master() as (address, store, _), contextlib.redirect_stdout(printed):
        port = address.rpartition(":")[2]
        code = compile(example.replace("5000", port), str(tmp_path / "example.py"), "exec")
        exec(code, {})  # noqa: S102 - the example of our own page
    assert store.files == {"/notes/today.txt": b"hello"}
    assert printed.getvalue() == "notes/today.txt 10.0.0.1:5001 10.0.0.2:5001\n b'hello'\n"
