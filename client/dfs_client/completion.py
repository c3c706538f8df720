"""Completion: which words can stand at the end of a line. Text in, candidates out; no terminal in here."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfs_client.options import RemotePath
from dfs_client.remote_paths import ROOT, last_name, remote_path
from dfs_wire.errors import DfsError
from dfs_wire.messages import EntryKind

if TYPE_CHECKING:
    from dfs_client.api import Dfs

#: A directory with more entries is completed from its first ones only.
_ENTRIES_MAX = 2_000

#: What the terminal's word splitting would take for something else.
_SPECIAL = re.compile(r"([\s\\'\"#])")


@dataclass(frozen=True, slots=True)
class LastWord:
    """The end of a line: the whole words before, the last word with quotes taken off, and as it was typed."""

    before: list[str]
    word: str
    typed: str


def remote_candidates(connect: Callable[[], "Dfs"], text: str, base: str = ROOT) -> list[str]:
    """Remote paths that begin with `text`, spelled as it is; a directory ends with `/`. None where nobody answers."""
    head, slash, start = text.rpartition("/")
    try:
        directory = remote_path(head + slash or ".", base)
        entries = islice(connect().list(directory), _ENTRIES_MAX)
        names = [(last_name(entry.path), entry.kind) for entry in entries]
    except DfsError:
        return []
    return [
        f"{head}{slash}{name}{'/' if kind is EntryKind.DIRECTORY else ''}"
        for name, kind in names
        if name.startswith(start)
    ]


def local_candidates(text: str) -> list[str]:
    """Local paths that begin with `text`; a directory ends with `/`."""
    head, slash, start = text.rpartition("/")
    try:
        children = sorted(Path(expanded(head + slash) or ".").iterdir())
        return [
            f"{head}{slash}{child.name}{'/' if child.is_dir() else ''}"
            for child in children
            if child.name.startswith(start) and (start or not child.name.startswith("."))
        ]
    except OSError:
        return []


def expanded(word: str) -> str:
    """A local path with `~/` replaced, which no shell does inside the terminal."""
    return str(Path.home()) + word[1:] if word == "~" or word.startswith("~/") else word


def last_word(line: str) -> LastWord:
    """Take the last word off a line, by the same rules as `shlex`, but with quotes that may still be open."""
    words: list[str] = []
    word, begin, quote, escaped = "", None, "", False
    for place, character in enumerate(line):
        if begin is None and not character.isspace():
            begin = place
        if escaped:
            word, escaped = word + character, False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote, word = ("", word) if character == quote else (quote, word + character)
        elif character in "'\"":
            quote = character
        elif character.isspace():
            if begin is not None:
                words.append(word)
            word, begin = "", None
        else:
            word += character
    return LastWord(words, word, line[begin:] if begin is not None else "")


def quoted(word: str) -> str:
    """A candidate as it has to be typed."""
    return _SPECIAL.sub(r"\\\1", word)


def line_candidates(
    line: LastWord,
    group: click.Group,
    context: click.Context,
    built_in: Iterable[str],
    remote: Callable[[str], list[str]],
) -> list[str]:
    """What the last word of a line of the terminal can become."""
    names = sorted({*built_in, *group.list_commands(context)})
    if not line.before:
        return [name for name in names if name.startswith(line.word)]
    first, arguments = line.before[0], [word for word in line.before[1:] if not word.startswith("-")]
    if first == "help":
        return [name for name in names if name.startswith(line.word)]
    if first == "cd":
        return [path for path in remote(line.word) if path.endswith("/")]
    command = group.get_command(context, first)
    if isinstance(command, click.Group) and not arguments:
        return [name for name in command.list_commands(context) if name.startswith(line.word)]
    if command is None:
        return []
    if line.word.startswith("-"):
        return sorted(option for option in _options(command) if option.startswith(line.word))
    return list(_paths(command, arguments, line.word, remote))


def _options(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from (name for name in parameter.opts if name.startswith("--"))


def _paths(
    command: click.Command, arguments: list[str], word: str, remote: Callable[[str], list[str]]
) -> Iterator[str]:
    """Local or remote paths, or both where either can stand (a destination may also be one more source)."""
    takes_remote = isinstance(command, click.Group) or any(isinstance(each.type, RemotePath) for each in command.params)
    if command.name == "upload":
        yield from local_candidates(word)
        if arguments:
            yield from remote(word)
        return
    if takes_remote:
        yield from remote(word)
    if command.name == "download" and arguments:
        yield from local_candidates(word)
