"""What one command line works with: its options, its output, and the connection, opened when first needed."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from dfs_client.output import Output
from dfs_client.remote_paths import ROOT, remote_path
from dfs_wire.errors import UsageError

if TYPE_CHECKING:
    from dfs_client.api import Dfs

PROGRAM = "dfs-client"

#: Other names of commands.
ALIASES = {"put": "upload", "get": "download", "ls": "list"}

#: Makes a connection from the names of a profile and a master, each None for "by the rules".
Connect = Callable[[str | None, str | None], "Dfs"]


def connect_by_profile(profile: str | None, master: str | None) -> "Dfs":
    """The real connection. The library is imported here: `--help` needs neither sockets nor keys."""
    from dfs_client.api import connect

    return connect(profile, master=master)


class Connections:
    """Connections by profile and master, each made once: the lines of a terminal share them.

    Used from one thread.
    """

    def __init__(self, connect: Connect = connect_by_profile) -> None:
        self._connect = connect
        self._open: dict[tuple[str | None, str | None], Dfs] = {}

    def get(self, profile: str | None, master: str | None) -> "Dfs":
        """The connection for these options.

        Raises:
            DfsError: there is no such profile, or its master does not answer.
        """
        key = (profile, master)
        if key not in self._open:
            self._open[key] = self._connect(profile, master)
        return self._open[key]

    def close(self) -> None:
        """Close all of them."""
        while self._open:
            self._open.popitem()[1].close()


class Session:
    """One command's surroundings. `directory` is where relative remote paths start: the root, but in the terminal."""

    def __init__(
        self,
        connections: Connections,
        output: Output,
        *,
        profile: str | None = None,
        master: str | None = None,
        directory: str = ROOT,
    ) -> None:
        self.connections = connections
        self.output = output
        self.profile = profile
        self.master = master
        self.directory = directory
        #: Set while the interactive terminal runs, which lets a command change the session itself.
        self.terminal: Session | None = None

    @property
    def dfs(self) -> "Dfs":
        """The connection that this command's options ask for."""
        return self.connections.get(self.profile, self.master)

    def remote(self, text: str) -> str:
        """The absolute remote path that a user's text means."""
        return remote_path(text, self.directory)

    def standard_input(self) -> BinaryIO:
        """The bytes of standard input.

        Raises:
            UsageError: it brings the lines of the terminal.
        """
        if self.terminal is not None:
            raise UsageError("standard input belongs to the terminal here; run 'dfs-client upload -' outside it")
        return sys.stdin.buffer

    def for_line(self) -> "Session":
        """The same surroundings for one line of the terminal, whose options end with the line."""
        output = Output(program=self.output.program, json_lines=self.output.json)
        line = Session(self.connections, output, profile=self.profile, master=self.master, directory=self.directory)
        line.terminal = self
        return line
