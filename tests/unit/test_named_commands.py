"""Whatever a message or a document tells people to type is there: commands, options and their choices."""

import re
import shlex
from itertools import dropwhile
from pathlib import Path

import click
import pytest

from dfs_client.program import cli as client_program
from dfs_deploy.program import cli as deploy_program

ROOT = Path(__file__).parents[2]
PROGRAMS: dict[str, click.Command] = {"dfs": deploy_program, "dfs-client": client_program}
CODE = [path for role in ("common", "master", "node", "client", "deploy") for path in (ROOT / role).rglob("*.py")]
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]

#: In backticks, or alone on an indented line of a document, perhaps behind a prompt.
_QUOTED = re.compile(r"`((?:dfs|dfs-client) [a-z][^`\n]*)`")
_SHOWN = re.compile(r"^ {4}(?:\$ )?((?:dfs|dfs-client) [a-z].*)$", re.MULTILINE)
#: What a person fills in, or a program did: a name, a path, a number.
_FILLED_IN = "x"


def _found() -> list[tuple[str, str]]:
    """(file, command), each once."""
    found = set()
    for path in [*CODE, *DOCUMENTS]:
        text = path.read_text()
        # A sentence may break a line within the backticks; so may a string of the source.
        joined = re.sub(r'"\s*\n\s*f?"', "", text) if path.suffix == ".py" else re.sub(r"(?<=\S)\n(?=\S)", " ", text)
        commands = _QUOTED.findall(joined) + (_SHOWN.findall(text) if path.suffix == ".md" else [])
        found |= {(str(path.relative_to(ROOT)), command) for command in commands}
    return sorted(found)


def _words(command: str) -> list[str]:
    """The arguments: no comment, no pipe, nothing optional; `a|b` stands for the first."""
    plain = re.sub(r"\{[^}]*\}", _FILLED_IN, command)
    plain = re.sub(r"\s(#|[|&>;]).*$|\s\.\.\.|\[[^]]*\]", " ", plain)
    return [word.split("|")[0] for word in shlex.split(plain.strip())]


def _check(command: click.Command, words: list[str], context: click.Context) -> None:
    """Follow groups by name, then look up each option and choice.

    Raises:
        click.UsageError: there is no such command, option or choice.
    """
    if isinstance(command, click.Group):
        words = list(dropwhile(lambda word: word.startswith("-"), words))
        if not words or words[0].isupper():
            return
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"no command {words[0]!r}")
        _check(found, words[1:], click.Context(found, info_name=words[0], parent=context))
        return
    known = {name: option for option in command.params for name in [*option.opts, *option.secondary_opts]}
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("-") and name not in known:
            raise click.UsageError(f"no option {name!r}")
    first = next((each for each in command.params if isinstance(each, click.Argument)), None)
    if first is not None and isinstance(first.type, click.Choice) and words and not words[0].startswith("-"):
        first.type.convert(words[0], first, context)


@pytest.mark.parametrize(("file", "command"), _found())
def test_what_is_said_can_be_typed(file: str, command: str) -> None:
    """`file` is where it is said."""
    program, *words = _words(command)
    root = PROGRAMS[program]
    try:
        _check(root, words, click.Context(root, info_name=program))
    except click.UsageError as error:
        pytest.fail(f"{file} says `{command}`: {error.format_message()}")


def test_something_is_found() -> None:
    """Else nothing above would be tried."""
    assert len(_found()) > 150


@pytest.mark.parametrize(
    "command",
    ["dfs nothing", "dfs node nothing", "dfs repair force", "dfs status --nothing", "dfs-client list --nothing"],
)
def test_what_is_not_there_is_found_out(command: str) -> None:
    """The check itself."""
    program, *words = _words(command)
    with pytest.raises(click.UsageError):
        _check(PROGRAMS[program], words, click.Context(PROGRAMS[program]))
