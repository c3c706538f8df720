"""Write the tables and samples of `protocol.md` from the code: `python docs/protocol_tables.py`.

What stands between `<!-- NAME -->` and `<!-- end -->` in the page is made here; the rest is written by hand.
`tests/unit/test_docs_protocol.py` fails while page and code differ.
"""

import enum
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from docs import protocol_words as words  # noqa: E402 - started as a program, the folder must be found first
from docs.protocol_samples import samples  # noqa: E402

from dfs_wire import limits  # noqa: E402
from dfs_wire import messages as m  # noqa: E402
from dfs_wire.errors import ERRORS, DfsError  # noqa: E402
from dfs_wire.verbs import RULES, Body, Rule, Server  # noqa: E402

PAGE = ROOT / "docs" / "protocol.md"
_BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

_SERVERS = {Server.MASTER: "master", Server.NODE: "node", Server.BOTH: "both"}
_PLAIN = {int: "int", float: "float", bool: "bool", str: "str", bytes: "bin", dict[str, object]: "map"}


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [list(heads), *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def type_name(kind: object) -> str:
    """A field's type in the words of the page."""
    if kind in _PLAIN:
        return _PLAIN[kind]  # type: ignore[index] # only hashable kinds are equal to one of these
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"`{kind.__name__}`"
    if isinstance(kind, type):
        return f"`{kind.__name__}`"
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return f"array of {type_name(arguments[0])}"
    if origin is types.UnionType:
        return " or ".join("nil" if each is types.NoneType else type_name(each) for each in arguments)
    raise TypeError(f"no name is known for the type {kind}")


def default_of(field: msgspec.structs.FieldInfo) -> str:
    """A field's default, or that it must be there."""
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return str(value.value)
    return "empty" if value in ("", b"", [], {}) else str(value)


def meaning_of(struct: str, field: str) -> str:
    """What a field means.

    Raises:
        KeyError: nobody wrote it down yet in `protocol_words.FIELDS`.
    """
    return words.FIELDS.get(f"{struct}.{field}") or words.FIELDS[field]


def fields_table(kind: type[msgspec.Struct], *, numbered: bool = False) -> str:
    """A struct's fields."""
    hints = typing.get_type_hints(kind)
    heads = [*(["#"] if numbered else []), "field", "type", "default", "meaning"]
    rows = [
        [
            *([number] if numbered else []),
            f"`{field.name}`",
            type_name(hints[field.name]),
            default_of(field),
            meaning_of(kind.__name__, field.name),
        ]
        for number, field in enumerate(msgspec.structs.fields(kind))
    ]
    return table(heads, rows) if rows else "No fields: an empty map.\n"


def one_line(text: str | None) -> str:
    """A docstring as a paragraph."""
    return " ".join((text or "").split())


def roles_of(rule: Rule) -> str:
    """Who may call a verb."""
    return ", ".join(role.value for role in m.Role if role in rule.roles)


def verbs() -> str:
    """The overview."""
    rows = (
        (rule.number, f"[`{rule.name}`](#{rule.number}-{rule.name.lower()})", _SERVERS[rule.server], roles_of(rule))
        for rule in RULES
    )
    return table(("verb", "name", "answered by", "for roles"), rows)


def requests() -> str:
    """A section for each verb."""
    parts = []
    for title, numbers in words.SECTIONS:
        parts.append(f"### {title}\n")
        parts += [_verb_section(rule) for rule in RULES if rule.number in numbers]
    return "\n".join(parts)


def _verb_section(rule: Rule) -> str:
    told = re.split(r" (?:Reply )?[Bb]ody: ", one_line(rule.request.__doc__))[0]
    parts = [f"#### {rule.number} {rule.name}\n", told + "\n"]
    parts.append(f"Answered by: {_SERVERS[rule.server]}. Roles: {roles_of(rule)}.\n")
    parts.append(_part("Request", rule.request, rule.body, words.REQUEST_BODIES.get(rule.request)))
    parts.append(_part("Reply", rule.reply, rule.reply_body, words.REPLY_BODIES.get(rule.request)))
    return "\n".join(parts)


def _part(what: str, header: type[m.Header], body: Body, content: str | None) -> str:
    if (body is Body.NONE) != (content is None):
        raise ValueError(f"protocol_words does not fit the body of {header.__name__}")
    end = "" if content is None else f"\n{what} body: {content}.\n"
    return f"{what} header, `{header.__name__}`:\n\n{fields_table(header)}{end}"


def items() -> str:
    """The structs that travel in lists and fields, and the two bodies that are maps."""
    found = [
        kind
        for _, kind in _members(lambda kind: isinstance(kind, type) and issubclass(kind, msgspec.Struct))
        if not issubclass(kind, m.Header) and kind is not m.Item
    ]
    found.sort(key=lambda kind: inspect.getsourcelines(kind)[1])
    parts = []
    for kind in found:
        is_array = issubclass(kind, m.Item)
        shape = "An array." if is_array else "A map."
        parts.append(
            f"### {kind.__name__}\n\n{one_line(kind.__doc__)} {shape}\n\n{fields_table(kind, numbered=is_array)}"
        )
    return "\n".join(parts)


def enums() -> str:
    """Every enumeration with its values, which are texts."""
    found = _members(
        lambda kind: isinstance(kind, type) and issubclass(kind, enum.StrEnum) and kind is not enum.StrEnum
    )
    rows = (
        (f"`{name}`", f"`{value.value}`", words.ENUMS[f"{name}.{value.value}"])
        for name, kind in found
        for value in kind
    )
    return table(("enumeration", "value", "meaning"), rows)


def _members(wanted: Callable[[object], bool]) -> list[tuple[str, typing.Any]]:
    return [(name, kind) for name, kind in inspect.getmembers(m, wanted) if kind.__module__.startswith(m.__name__)]


def errors() -> str:
    """Every error code."""
    rows = (
        (
            f"`{kind.code}`",
            kind.exit_code,
            "yes" if kind.retryable else "",
            one_line(inspect.getdoc(kind)).split("; details")[0],
            words.ERROR_DETAILS.get(kind.code, ""),
        )
        for kind in ERRORS.values()
        if kind is not DfsError
    )
    return table(("code", "exit code", "retryable", "meaning", "details"), rows)


def error_reply() -> str:
    """The header of an error frame."""
    return fields_table(m.ErrorReply)


def limits_table() -> str:
    """Every number that both sides rely on."""
    rows = ((f"`{name}`", _number(getattr(limits, name)), meaning) for name, meaning in words.LIMITS.items())
    return table(("name", "value", "meaning"), rows)


def _number(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(_number(each) for each in value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


BLOCKS: dict[str, Callable[[], str]] = {
    "verbs": verbs,
    "requests": requests,
    "items": items,
    "enums": enums,
    "errors": errors,
    "error_reply": error_reply,
    "limits": limits_table,
    "samples": samples,
}


def rendered(page: str) -> str:
    """The page with every block made anew.

    Raises:
        KeyError: the page has a block that nobody makes.
    """
    return _BLOCK.sub(lambda found: found[1] + "\n" + BLOCKS[found[2]]() + "\n" + found[3], page)


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
