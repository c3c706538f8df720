"""The prompt of the interactive terminal, on prompt_toolkit: line editing, history, Tab."""

import os
from collections.abc import Callable, Iterable, Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from dfs_client.completion import LastWord, quoted
from dfs_client.display import visible
from dfs_client.remote_paths import last_name
from dfs_runtime.home import dfs_home

HISTORY_NAME = "history"

#: A line's last word and what it can become.
Candidates = Callable[[str], tuple[LastWord, list[str]]]


class Prompt:
    """Reads lines from a terminal. Used from one thread."""

    def __init__(self, candidates: Candidates) -> None:
        self._session: PromptSession[str] = PromptSession(
            history=_history(), completer=_LineCompleter(candidates), complete_while_typing=False
        )

    def read(self, text: str) -> str:
        """One line.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            EOFError: Ctrl-D on an empty line.
        """
        return self._session.prompt(text)


class _LineCompleter(Completer):
    """Offers the candidates of a line when Tab is pressed."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Each candidate in place of the last word."""
        line, found = self._candidates(document.text_before_cursor)
        yield from _completions(line, found)


def _completions(line: LastWord, found: Iterable[str]) -> Iterator[Completion]:
    for candidate in found:
        shown = last_name(candidate) + ("/" if candidate.endswith("/") else "")
        yield Completion(quoted(candidate), start_position=-len(line.typed), display=visible(shown))


def _history() -> History:
    """The lines of earlier terminals, readable by the user alone; of this one only, where no file can be kept."""
    path = dfs_home() / HISTORY_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
