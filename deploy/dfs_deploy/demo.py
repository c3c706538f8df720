"""`make demo`: a cluster, real files in and out, and a comparison. It runs the commands that a user would type."""

import filecmp
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from dfs_client.output import Output
from dfs_deploy.programs import program_command
from dfs_runtime.clock import SystemClock

NAME = "demo"
NODES = 3
BIG_FILE_BYTES = 256 * 1024 * 1024
_PIECE_BYTES = 8 * 1024 * 1024

#: Packages of the running Python's own library: a real tree of some hundred files, which every machine has.
PACKAGES = ("asyncio", "collections", "concurrent", "email", "http", "importlib", "json", "logging", "unittest", "xml")


class DemoFailedError(Exception):
    """A command failed, or what came back is not what went in."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory tree, measured."""

    files: int
    bytes: int


class Demo:
    """Runs commands, shows them as a user would type them, and compares what came back."""

    def __init__(self, output: Output, scratch: Path, engine: str) -> None:
        self._output = output
        self._scratch = scratch
        self._engine = engine
        self._tree = scratch / "python-library"
        self._big = scratch / "big.bin"

    def run(self) -> None:
        """All of it.

        Raises:
            DemoFailedError: something went wrong.
        """
        self._deploy()
        tree = self._make_files()
        self._upload()
        self._list(tree)
        self._download_and_compare(tree)
        self._command("dfs", "status", "--name", NAME)
        self._goodbye()

    # -- acts ---------------------------------------------------------------------------------------------------

    def _deploy(self) -> None:
        self._say("Start a master and three nodes, or use those that run already.")
        known = [json.loads(line)["name"] for line in self._answer("dfs", "list", "--json").splitlines()]
        # A demo that ran before may have been grown since, and never shrinks.
        nodes = () if NAME in known else ("--nodes", str(NODES))
        self._command("dfs", "deploy", "--name", NAME, *nodes, "--engine", self._engine)

    def _make_files(self) -> Tree:
        library = Path(os.__file__).parent
        for package in PACKAGES:
            shutil.copytree(library / package, self._tree / package, ignore=shutil.ignore_patterns("__pycache__"))
        with self._big.open("wb") as file:
            for _ in range(BIG_FILE_BYTES // _PIECE_BYTES):
                file.write(os.urandom(_PIECE_BYTES))
        files = [path for path in self._tree.rglob("*") if path.is_file()]
        return Tree(len(files), sum(path.stat().st_size for path in files))

    def _upload(self) -> None:
        self._say("Store a part of Python's own library, and 256 MiB of random bytes: every byte on two nodes.")
        self._timed("dfs-client", "upload", "-r", str(self._tree), "/demo/")
        self._timed("dfs-client", "upload", str(self._big), "/demo/big.bin")

    def _list(self, tree: Tree) -> None:
        self._say("See what is there.")
        self._command("dfs-client", "list", "-l", "/demo")
        entries = self._answer("dfs-client", "list", "-r", "--json", "/demo/python-library").splitlines()
        found = [entry for entry in map(json.loads, entries) if entry["kind"] == "file"]
        self._expect(len(found) == tree.files, f"the list has {len(found)} files, and {tree.files} were stored")
        self._output.line(f"{tree.files} files with {tree.bytes} bytes are listed below /demo/python-library.")

    def _download_and_compare(self, tree: Tree) -> None:
        self._say("Fetch everything and compare it with what was stored.")
        back = self._scratch / "back"
        back.mkdir()
        self._timed("dfs-client", "download", "-r", "/demo/python-library", str(back))
        self._timed("dfs-client", "download", "/demo/big.bin", str(back))
        self._expect(same_tree(self._tree, back / self._tree.name), "the tree that came back differs")
        digest = checksum(self._big)
        self._expect(checksum(back / self._big.name) == digest, "the 256 MiB file that came back differs")
        self._output.line(f"All {tree.files} files of the tree are equal; big.bin has SHA-256 {digest} on both sides.")

    def _goodbye(self) -> None:
        home = os.environ.get("DFS_HOME")
        scripts = Path(sys.executable).parent
        self._say("Done. The cluster goes on running; try it yourself:")
        lines = [f'export PATH="{scripts}:$PATH"']
        if home:
            lines.append(f'export DFS_HOME="{Path(home).absolute()}"')
        lines += [
            f"export DFS_PROFILE={NAME}",
            "dfs-client                              # the interactive terminal",
            "dfs-client upload FILE /                # and download, list, stat, rm, mv, ...",
            "dfs status                              # how the cluster is",
            "dfs db show replicas                    # which chunk is on which node",
            "dfs stop                                # end the processes, keep the data",
            "dfs destroy --delete-data               # end it for good",
        ]
        for line in lines:
            self._output.line(f"  {line}")

    # -- tools --------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._output.line()
        self._output.line(f"== {text}")

    def _command(self, program: str, *arguments: str) -> None:
        """Show a command and run it with its output on ours."""
        self._output.line(f"$ {' '.join((program, *arguments))}")
        self._output.flush()
        self._check(subprocess.run(self._line(program, *arguments), env=self._environment(), check=False), program)

    def _timed(self, program: str, *arguments: str) -> None:
        clock = SystemClock()
        began = clock.monotonic()
        self._command(program, *arguments)
        self._output.line(f"  ({clock.monotonic() - began:.1f} s)")

    def _answer(self, program: str, *arguments: str) -> str:
        """Run a command and give what it printed."""
        line = self._line(program, *arguments)
        done = subprocess.run(line, env=self._environment(), stdout=subprocess.PIPE, text=True, check=False)
        self._check(done, program)
        return done.stdout

    @staticmethod
    def _line(program: str, *arguments: str) -> list[str]:
        return [*program_command(program), *arguments]

    @staticmethod
    def _environment() -> dict[str, str]:
        """Ours, but nothing in it leads `dfs-client` to another cluster than the one that is shown."""
        kept = {name: value for name, value in os.environ.items() if name not in {"DFS_MASTER", "DFS_KEY"}}
        return kept | {"DFS_PROFILE": NAME}

    @staticmethod
    def _check(done: "subprocess.CompletedProcess[str] | subprocess.CompletedProcess[bytes]", program: str) -> None:
        if done.returncode != 0:
            raise DemoFailedError(f"{program} ended with exit code {done.returncode}", done.returncode)

    @staticmethod
    def _expect(holds: bool, otherwise: str) -> None:
        if not holds:
            raise DemoFailedError(otherwise)


def same_tree(one: Path, other: Path) -> bool:
    """Whether two trees have the same names, with the same bytes in every file."""
    names = sorted(path.relative_to(one) for path in one.rglob("*"))
    if names != sorted(path.relative_to(other) for path in other.rglob("*")):
        return False
    files = [str(name) for name in names if (one / name).is_file()]
    return filecmp.cmpfiles(one, other, files, shallow=False)[0] == files


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hex: any machine has a tool that prints the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@click.command()
@click.option("--engine", type=click.Choice(["auto", "docker", "process"]), default="process", show_default=True)
def main(engine: str) -> None:
    """Show a cluster at work, with real files."""
    output = Output(program="demo")
    with tempfile.TemporaryDirectory(prefix="dfs-demo-") as scratch:
        try:
            Demo(output, Path(scratch), engine).run()
        except DemoFailedError as error:
            output.note(f"{error}.")
            raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
