"""Roles as local processes: one process a role, in a session of its own, with no wrapper and no supervisor."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import BinaryIO

import msgspec

from dfs_deploy.data_removal import delete, empty_disk, left_sentence, mount_points, unused
from dfs_deploy.engine import LogLine
from dfs_deploy.log_files import follow, tail
from dfs_deploy.plan import Found
from dfs_deploy.processes import Process, ProcessTable, is_daemon, is_same_directory, served_directory
from dfs_deploy.programs import MASTER_PROGRAM, NODE_PROGRAM, code_mark, daemon_environment, program_command
from dfs_deploy.reports import message_of
from dfs_deploy.spec import MASTER, ClusterSpec, NodeSpec, join_address
from dfs_deploy.state import PRIVATE_MODE, ClusterPaths, Credentials, StateStore
from dfs_deploy.volume_identity import has_joined
from dfs_runtime.clock import Clock, Deadline
from dfs_runtime.files import fsync_directory, make_directory, write_secret
from dfs_wire.errors import ConflictError, DfsError, InternalError, TimedOutError

STOP_SECONDS = 10.0
KILL_SECONDS = 10.0
INIT_SECONDS = 60.0
EXEC_SECONDS = 5.0
#: Raw output of a role is small; a crash loop must not fill a disk with it.
OUTPUT_BYTES_MAX = 1024 * 1024
_LAST_WORDS_LINES = 20
#: The metadata database in the master's directory.
METADATA_FILE = "metadata.db"

#: `program -> start of its command line`.
Programs = Callable[[str], list[str]]


class _PidFile(msgspec.Struct, frozen=True):
    """The process of a role: with the start time beside it, a reused pid is never taken for ours.

    `code` tells which code it was started with.
    """

    pid: int
    started_ticks: int
    code: str = ""


@contextmanager
def _deleting(directory: Path) -> Iterator[None]:
    """Say in one sentence what cannot be deleted.

    Raises:
        DfsError: in place of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise DfsError(
            f"Not all of {directory} can be deleted ({error}); see to that, and give the same command again."
        ) from error


class ProcessEngine:
    """The engine for a machine without containers. Used by one thread.

    `say` gets what a person should still see when the command has ended.
    """

    def __init__(
        self,
        store: StateStore,
        home: Path,
        clock: Clock,
        *,
        table: ProcessTable | None = None,
        programs: Programs = program_command,
        environ: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._store = store
        self._home = home
        self._clock = clock
        self._table = table or ProcessTable()
        self._programs = programs
        self._environ = os.environ if environ is None else environ
        self._say = say
        #: Our children, kept so that they are reaped when they end while this program still runs.
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        #: Command lines of roles that an upgrade may go back to.
        self._before: dict[str, list[str]] = {}
        #: Directories of nodes that were not there before: only those may be taken back.
        self._made: set[Path] = set()

    @property
    def name(self) -> str:
        """What `--engine` calls it."""
        return "process"

    # -- looking ------------------------------------------------------------------------------------------------

    def look(self, spec: ClusterSpec) -> Found:
        """What is there: directories, and processes by pid file or, failing that, by their command line."""
        paths = self._store.paths(spec.name)
        joined = (node.name for node in spec.nodes if has_joined(paths.volume(node.name)))
        return Found(
            master_initialised=paths.master_data.is_dir(),
            running=frozenset(self.processes(spec)),
            joined=frozenset(joined),
        )

    def processes(self, spec: ClusterSpec) -> dict[str, Process]:
        """The processes that run, by role."""
        return self._find(spec, spec.roles)

    def _find(self, spec: ClusterSpec, roles: Sequence[str]) -> dict[str, Process]:
        self._reap()
        paths = self._store.paths(spec.name)
        found = {role: process for role in roles if (process := self._by_pid_file(paths, role)) is not None}
        missing = [role for role in roles if role not in found]
        if missing:
            # A deploy that was killed between starting a process and noting its pid leaves one without a pid file.
            for process in self._table.all():
                for role in missing:
                    if is_daemon(process, *self._marks(paths, role)):
                        found[role] = process
        return found

    @staticmethod
    def _noted(paths: ClusterPaths, role: str) -> _PidFile | None:
        try:
            return msgspec.json.decode(paths.pid(role).read_bytes(), type=_PidFile)
        except (OSError, msgspec.DecodeError):
            return None

    def _by_pid_file(self, paths: ClusterPaths, role: str) -> Process | None:
        noted = self._noted(paths, role)
        process = None if noted is None else self._table.read(noted.pid)
        if noted is None or process is None or process.started_ticks != noted.started_ticks:
            return None
        program, option, directory = self._marks(paths, role)
        served = served_directory(process, program, option)
        # It is the very process that was noted here. Where its directory was moved, what it was told leads nowhere;
        # where it leads to another directory, this home is a copy, and the process is the original's.
        is_ours = served is not None and (is_same_directory(served, directory) or not served.exists())
        return process if is_ours else None

    @staticmethod
    def _marks(paths: ClusterPaths, role: str) -> tuple[str, str, Path]:
        """Program, option and directory that a role's command line carries."""
        if role == MASTER:
            return MASTER_PROGRAM, "--data", paths.master_data
        return NODE_PROGRAM, "--volume", paths.volume(role)

    # -- starting -----------------------------------------------------------------------------------------------

    def initialise_master(self, spec: ClusterSpec) -> None:
        """Let `dfs-master init` work in a directory of its own, which gets its name when the keys are kept."""
        paths = self._store.paths(spec.name)
        for left in paths.stagings():
            # The program that a killed deploy started may still write there: it fails then, and harms nobody.
            shutil.rmtree(left, ignore_errors=True)
        staging = paths.fresh_staging()
        command = [*self._programs(MASTER_PROGRAM), "init", "--data", str(staging), "--copies", str(spec.copies)]
        try:
            credentials = msgspec.json.decode(self._run(command, INIT_SECONDS), type=Credentials)
        except msgspec.DecodeError as error:
            raise InternalError("dfs-master init printed no keys; is the installation whole?") from error
        self._store.save_credentials(spec.name, credentials)
        staging.chmod(PRIVATE_MODE)
        write_secret(staging / paths.join_token.name, credentials.join_token.encode() + b"\n")
        staging.rename(paths.master_data)
        fsync_directory(paths.root)

    def start_master(self, spec: ClusterSpec) -> None:
        """Start `dfs-master` over its data."""
        paths = self._store.paths(spec.name)
        listen = join_address(spec.listen, spec.master_port)
        arguments = ["--data", str(paths.master_data), "--listen", listen, "--log-file", str(paths.log(MASTER))]
        if not spec.line_protocol:
            arguments.append("--no-line-protocol")
        self._spawn(paths, MASTER, [*self._programs(MASTER_PROGRAM), *arguments])

    def start_node(self, spec: ClusterSpec, node: NodeSpec) -> None:
        """Start `dfs-node` over its volume. A node that is known must find its volume again, never an empty one."""
        paths = self._store.paths(spec.name)
        if not paths.node_root(node.name).exists():
            make_directory(paths.node_root(node.name), mode=PRIVATE_MODE)
            self._made.add(paths.node_root(node.name))
        arguments = ["--volume", str(paths.volume(node.name)), "--name", node.name, "--master", spec.master_address]
        arguments += ["--listen", join_address(spec.listen, node.port), "--log-file", str(paths.log(node.name))]
        if spec.is_wildcard:
            arguments += ["--cluster-address", join_address(spec.local_host, node.port)]
            arguments += ["--public-address", join_address(spec.shared_host, node.port)]
        if node.id is None:
            arguments += ["--join-token-file", str(paths.join_token)]
        else:
            arguments += ["--expect-node", str(node.id)]
        self._spawn(paths, node.name, [*self._programs(NODE_PROGRAM), *arguments])

    def _spawn(self, paths: ClusterPaths, role: str, command: list[str], *, code: str | None = None) -> None:
        make_directory(paths.logs, mode=PRIVATE_MODE)
        make_directory(paths.pid(role).parent, mode=PRIVATE_MODE)
        output = paths.output(role)
        if output.exists() and output.stat().st_size > OUTPUT_BYTES_MAX:
            output.replace(output.with_suffix(".out.1"))
        with output.open("ab") as sink:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                # Neither Ctrl-C on deploy's terminal nor the end of its session reaches a daemon.
                start_new_session=True,
                # Whoever waits for deploy's pipes to end must not wait for a daemon.
                close_fds=True,
                cwd=paths.root,
                env=daemon_environment(self._environ, self._home),
            )
        self._children[child.pid] = child
        process = self._await_command_line(child.pid)
        if process is not None:
            note = msgspec.json.encode(
                _PidFile(process.pid, process.started_ticks, self._code if code is None else code)
            )
            write_secret(paths.pid(role), note + b"\n")

    def _await_command_line(self, pid: int) -> Process | None:
        """The new process; None when it died at once.

        The kernel tells of a successful start a moment before it shows the command line, and without that nobody
        who looks takes the process for ours.
        """
        deadline = Deadline(self._clock, EXEC_SECONDS)
        while (process := self._table.read(pid)) is not None and not any(process.arguments):
            if deadline.passed():
                break
            self._clock.sleep(0.001)
        return process

    def _run(self, command: list[str], seconds: float) -> bytes:
        """Run a program to its end and give its standard output.

        Raises:
            DfsError: it failed; the sentence it wrote is the message.
            TimedOutError: it took too long.
        """
        environment = daemon_environment(self._environ, self._home)
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=environment, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise TimedOutError(f"{Path(command[0]).name} did not end within {seconds:.0f} s; try again.") from error
        if done.returncode != 0:
            words = done.stderr.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
            raise DfsError(words or f"{Path(command[0]).name} failed with exit code {done.returncode}.")
        return done.stdout

    # -- ending -------------------------------------------------------------------------------------------------

    def stop(self, spec: ClusterSpec, roles: Sequence[str]) -> None:
        """SIGTERM to all, 10 s for them together, then SIGKILL.

        Raises:
            TimedOutError: a process outlives even that, as one in a hung file system does.
        """
        paths = self._store.paths(spec.name)
        running = self._find(spec, roles)
        self._signal_and_wait(running, SIGTERM, STOP_SECONDS)
        stubborn = {role: process for role, process in running.items() if self._table.is_same(process)}
        self._signal_and_wait(stubborn, SIGKILL, KILL_SECONDS)
        self._reap()
        left = [role for role, process in stubborn.items() if self._table.is_same(process)]
        if left:
            raise TimedOutError(f"{left[0]} of cluster {spec.name!r} cannot be ended; its disk or mount hangs.")
        for role in roles:
            paths.pid(role).unlink(missing_ok=True)

    def _signal_and_wait(self, running: Mapping[str, Process], number: Signals, seconds: float) -> None:
        deadline = Deadline(self._clock, seconds)
        for process in running.values():
            self._table.send(process, number)
        for process in running.values():
            self._table.await_end(process, deadline.remaining())

    def _reap(self) -> None:
        """Take the exit codes of our own children that ended, so that they are zombies no more."""
        self._children = {pid: child for pid, child in self._children.items() if child.poll() is None}

    # -- upgrading ----------------------------------------------------------------------------------------------

    @cached_property
    def _code(self) -> str:
        return code_mark()

    def outdated(self, spec: ClusterSpec) -> frozenset[str]:
        """Those that were started with other code than is installed now."""
        paths = self._store.paths(spec.name)
        noted = {role: self._noted(paths, role) for role in self.processes(spec)}
        return frozenset(role for role, note in noted.items() if note is None or note.code != self._code)

    def set_aside(self, spec: ClusterSpec, role: str) -> None:
        """Its command line is remembered as long as this program runs."""
        process = self.processes(spec).get(role)
        if process is not None:
            self._before[role] = list(process.arguments)
        self.stop(spec, [role])

    def can_bring_back(self, spec: ClusterSpec, role: str) -> bool:
        """Whether its command line of before leads to another installation."""
        before, program = self._before.get(role, []), self._program_of(role)
        # A script is shown behind the interpreter that its first line names.
        return bool(before) and program not in (before[: len(program)], before[1 : 1 + len(program)])

    def _program_of(self, role: str) -> list[str]:
        return self._programs(MASTER_PROGRAM if role == MASTER else NODE_PROGRAM)

    def bring_back(self, spec: ClusterSpec, role: str) -> None:
        """By its command line of before, if that leads to another installation.

        Raises:
            ConflictError: this version was installed over the one before.
        """
        before = self._before.get(role)
        if before is None:
            return
        program = self._program_of(role)
        if not self.can_bring_back(spec, role):
            raise ConflictError(
                f"this version was installed over the one before in {Path(program[0]).parent}; "
                f"install that one again and say `dfs start --name {spec.name}`"
            )
        self.stop(spec, [role])
        self._spawn(self._store.paths(spec.name), role, before, code="")

    def let_go(self, spec: ClusterSpec) -> None:
        """Forget the command lines."""
        self._before.clear()

    def discard_unjoined(self, spec: ClusterSpec, node: NodeSpec) -> bool:
        """Delete a node's directory and logs if this engine made them and no master gave the volume an id."""
        paths = self._store.paths(spec.name)
        if paths.node_root(node.name) not in self._made or has_joined(paths.volume(node.name)):
            return False
        self.discard_node(spec, node)
        return True

    def discard_node(self, spec: ClusterSpec, node: NodeSpec) -> None:
        """Delete a node's directory and logs. A disk of its own is emptied and stays, with what leads to it.

        Raises:
            ConflictError: a process still uses the volume.
            DfsError: something cannot be deleted.
        """
        paths = self._store.paths(spec.name)
        storage, mounts = paths.node_storage(node.name), mount_points()
        with unused([storage]), _deleting(paths.node_root(node.name)):
            disk = empty_disk(storage, mounts)
            if disk is None:
                delete(paths.node_root(node.name), mounts)
            else:
                # The next node of that name finds its disk where it was.
                self._say(left_sentence(disk))
        for path in paths.logs.glob(f"{node.name}.*"):
            path.unlink(missing_ok=True)

    def dismantle(self, spec: ClusterSpec) -> None:
        """Nothing is left of a process that has ended."""

    def remove(self, spec: ClusterSpec) -> None:
        """Delete the cluster's directory. Disks of their own are emptied and stay, and that is said.

        Raises:
            ConflictError: a role still runs over it.
            DfsError: something cannot be deleted; the cluster is still known, and doing it again goes on there.
        """
        running = self.processes(spec)
        if running:
            raise ConflictError(f"{min(running)} of cluster {spec.name!r} still runs; stop the cluster first.")
        paths = self._store.paths(spec.name)
        with unused(paths.storages()), _deleting(paths.root):
            self._store.mark_destroyed(spec)
            for place in self._store.forget(spec.name):
                self._say(left_sentence(place))

    def take_back(self, spec: ClusterSpec) -> None:
        """All of it: a new cluster begins in an empty directory."""
        self.remove(spec)

    # -- reading ------------------------------------------------------------------------------------------------

    def data_place(self, spec: ClusterSpec) -> str:
        """The cluster's directory."""
        return str(self._store.paths(spec.name).root)

    def last_words(self, spec: ClusterSpec, role: str) -> str:
        """The last line of a role's raw output, else of its log; and where the log lies."""
        paths = self._store.paths(spec.name)
        for text in reversed(tail(paths.output(role), _LAST_WORDS_LINES)):
            if text.strip():
                return f"{text.strip()} (its log: {paths.log(role)})"
        for text in reversed(tail(paths.log(role), _LAST_WORDS_LINES)):
            return f"{message_of(LogLine(role, text))} (its log: {paths.log(role)})"
        return f"it wrote nothing to {paths.log(role)}"

    def run_master_command(self, spec: ClusterSpec, arguments: Sequence[str]) -> int:
        """Run `dfs-master` over the cluster's data, with our own standard output and error."""
        environment = daemon_environment(self._environ, self._home)
        command = [*self._programs(MASTER_PROGRAM), *arguments, "--data", str(self._store.paths(spec.name).master_data)]
        return subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, check=False).returncode

    def save_catalog(self, spec: ClusterSpec, target: Path) -> None:
        """By SQLite's own backup."""
        from dfs_deploy.fsck.evidence import copy_database  # late: few commands read databases or hash

        copy_database(self._store.paths(spec.name).master_data / METADATA_FILE, target)

    def scan_volume(self, spec: ClusterSpec, node: NodeSpec, out: BinaryIO, *, read_data: bool) -> None:
        """In this process: the volume is on this host."""
        from dfs_deploy.fsck.scan import lines

        out.writelines(lines(self._store.paths(spec.name).volume(node.name), read_data=read_data))

    def log_tail(self, spec: ClusterSpec, role: str, lines: int) -> list[LogLine]:
        """Raw output first, then the log."""
        paths = self._store.paths(spec.name)
        texts = [*tail(paths.output(role), lines), *tail(paths.log(role), lines)]
        return [LogLine(role, text) for text in texts[-lines:] if lines > 0]

    def follow_logs(self, spec: ClusterSpec, roles: Sequence[str], lines: int) -> Iterator[LogLine]:
        """The last lines of each role, then what is added to any of their files."""
        paths = self._store.paths(spec.name)
        added = follow([(role, path) for role in roles for path in (paths.output(role), paths.log(role))], self._clock)
        for role in roles:
            yield from self.log_tail(spec, role, lines)
        for role, text in added:
            yield LogLine(role, text)
