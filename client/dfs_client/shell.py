"""The interactive terminal: the same commands at a prompt. An error never ends it."""

import logging
import shlex
import sys
from collections.abc import Callable, Iterator

import click

from dfs_client.completion import LastWord, expanded, last_word, line_candidates, remote_candidates
from dfs_client.exit_codes import exit_code_of, run
from dfs_client.session import ALIASES, PROGRAM, Session
from dfs_wire.errors import DfsError, InternalError, UsageError, WrongKindError
from dfs_wire.messages import EntryKind

logger = logging.getLogger(__name__)


#: Commands whose arguments can be local paths.
_LOCAL_COMMANDS = frozenset({"upload", "download", "sync"})


class Shell:
    """Runs lines over one session, whose connection and current directory they share. Used from one thread."""

    def __init__(self, group: click.Group, session: Session) -> None:
        self._group = group
        self._session = session
        self._built_in: dict[str, tuple[str, Callable[[list[str]], None]]] = {
            "cd": ("Change the remote directory that paths without a leading / start from.", self._cd),
            "pwd": ("Print that directory.", self._pwd),
            "help": ("List the commands, or explain one: help list", self._help),
            "exit": ("Leave; so do quit and Ctrl-D.", self._exit),
            "quit": ("Leave.", self._exit),
        }
        self.ended = False

    @property
    def prompt(self) -> str:
        """What stands before the cursor."""
        return f"dfs:{self._session.directory}> "

    def run_line(self, line: str) -> int:
        """Carry out one line and return its exit code. Whatever goes wrong is said, and the terminal goes on."""
        output = self._session.output
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            output.error(UsageError("a quotation mark or a backslash has no partner; type it again"))
            return UsageError.exit_code
        if not words:
            return 0
        built_in = self._built_in.get(words[0])
        if built_in is not None:
            return exit_code_of(lambda: built_in[1](words[1:]), output)
        if ALIASES.get(words[0], words[0]) in _LOCAL_COMMANDS:
            words = [expanded(word) for word in words]
        try:
            session = self._session.for_line()
            return run(self._group, words, PROGRAM, session.output, session)
        except Exception:
            logger.exception("the command failed by a fault in dfs-client")
            output.error(InternalError("the command failed by a fault in dfs-client, shown above; please report it"))
            return InternalError.exit_code

    def candidates(self, text: str) -> tuple[LastWord, list[str]]:
        """The last word of a line and what it can become."""
        line = last_word(text)
        session = self._session
        with click.Context(self._group, info_name=PROGRAM, obj=session) as context:
            found = line_candidates(
                line,
                self._group,
                context,
                self._built_in,
                lambda word: remote_candidates(lambda: session.dfs, word, session.directory),
            )
        return line, found

    # -- commands of the terminal itself -----------------------------------------------------------------------

    def _cd(self, arguments: list[str]) -> None:
        if len(arguments) > 1:
            raise UsageError("cd takes one directory, or none for the root")
        path = self._resolved(arguments[0]) if arguments else "/"
        entry = self._session.dfs.stat(path).entry
        if entry.kind is not EntryKind.DIRECTORY:
            raise WrongKindError(f"{path} is a file; name a directory")
        self._session.directory = path

    def _resolved(self, text: str) -> str:
        """A path for `cd`, where `..` is what everybody types."""
        base = "/" if text.startswith("/") else self._session.directory
        names = [name for name in base.split("/") if name]
        for name in text.split("/"):
            if name == "..":
                names = names[:-1]
            elif name not in ("", "."):
                names.append(name)
        return "/" + "/".join(names)

    def _pwd(self, _arguments: list[str]) -> None:
        self._session.output.line(self._session.directory)

    def _help(self, arguments: list[str]) -> None:
        output = self._session.output
        with click.Context(self._group, info_name=PROGRAM) as context:
            if arguments and arguments[0] not in self._built_in:
                command = self._group.get_command(context, arguments[0])
                if command is None:
                    raise UsageError(f"there is no command {arguments[0]}; 'help' lists them")
                with click.Context(command, parent=context, info_name=arguments[0]) as below:
                    output.line(command.get_help(below))
                return
            commands = [(name, self._group.get_command(context, name)) for name in self._group.list_commands(context)]
        shown = [(name, command.get_short_help_str(80)) for name, command in commands if command is not None]
        shown += [(name, text) for name, (text, _) in self._built_in.items()]
        wanted = [pair for pair in shown if not arguments or pair[0] == arguments[0]]
        for name, text in wanted:
            output.line(f"{name:<12} {text}")
        if not arguments:
            output.line("\n'help COMMAND' or 'COMMAND --help' explains one in full.")

    def _exit(self, _arguments: list[str]) -> None:
        self.ended = True


def run_shell(group: click.Group, session: Session) -> None:
    """Read and run lines until `exit` or the end of the input: from the keyboard with editing, else plainly."""
    shell = Shell(group, session)
    interactive = sys.stdin.isatty() and session.output.on_terminal
    lines = _keyboard_lines(shell, session) if interactive else _plain_lines()
    for line in lines:
        shell.run_line(line)
        if shell.ended:
            return


def _plain_lines() -> Iterator[str]:
    """Lines of standard input, where it is a file or a pipe."""
    while line := sys.stdin.readline():
        yield line


def _keyboard_lines(shell: Shell, session: Session) -> Iterator[str]:
    """Lines from the keyboard with history and completion; Ctrl-C drops a line, Ctrl-D ends."""
    from dfs_client.prompt import Prompt

    output = session.output
    output.line("dfs terminal. 'help' lists the commands, Tab completes, 'exit' or Ctrl-D leaves.")
    try:
        prompt = Prompt(shell.candidates)
    except DfsError as error:
        output.error(error)
        yield from _plain_lines()
        return
    while True:
        try:
            yield prompt.read(shell.prompt)
        except KeyboardInterrupt:
            continue
        except EOFError:
            output.line()
            return
