"""The engine over Docker: roles are containers, their data lies in named volumes, and both are found by label."""

import io
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import msgspec

from dfs_deploy.containers import (
    DATA,
    HELPER,
    JOIN_TOKEN,
    LABEL_CLUSTER,
    LABEL_CONFIG,
    LABEL_HOME,
    LABEL_ROLE,
    MASTER_DATA,
    MASTER_DATA_NEW,
    NODE_VOLUME,
    STOP_SECONDS,
    ContainerSpec,
    Layout,
    cluster_labels,
    container_name,
    helper_container,
    master_container,
    network_name,
    node_container,
    set_aside_name,
    volume_name,
)
from dfs_deploy.docker_engine.archives import only_file, secret_archive
from dfs_deploy.docker_engine.backup import back_up
from dfs_deploy.docker_engine.follow import follow_containers
from dfs_deploy.docker_engine.sdk import DockerSdk, FoundContainer
from dfs_deploy.docker_engine.volumes import OwnVolumes, is_home
from dfs_deploy.engine import LogLine
from dfs_deploy.image.builder import ImageBuilder
from dfs_deploy.plan import Found
from dfs_deploy.programs import MASTER_PROGRAM
from dfs_deploy.reports import message_of
from dfs_deploy.spec import MASTER, ClusterSpec, NodeSpec
from dfs_deploy.state import Credentials, StateStore
from dfs_deploy.volume_identity import identity_has_joined
from dfs_runtime.clock import Clock
from dfs_wire.errors import (
    ConflictError,
    CorruptError,
    DfsError,
    InternalError,
    NotFoundError,
    VolumeForeignError,
)

_STUCK = frozenset({"paused", "restarting"})
#: What a container that failed said last is shown, before a rollback removes it.
_LAST_WORDS_LINES = 15
_RENAME = f"import os; os.rename({MASTER_DATA_NEW!r}, {MASTER_DATA!r}); os.fsync(os.open({DATA!r}, os.O_RDONLY))"


class DockerEngine:
    """The engine for a machine with Docker. Used by one thread.

    `say` gets what a person should still see when the command has ended.
    """

    def __init__(
        self,
        sdk: DockerSdk,
        images: ImageBuilder,
        store: StateStore,
        home: Path,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._sdk = sdk
        self._images = images
        self._store = store
        self._home = str(home.resolve())
        self._clock = clock
        self._say = say
        self._volumes = OwnVolumes(sdk, self._home, say)

    @property
    def name(self) -> str:
        """What `--engine` calls it."""
        return "docker"

    @cached_property
    def _image(self) -> str:
        return self._images.ensure()

    # -- looking ------------------------------------------------------------------------------------------------

    def look(self, spec: ClusterSpec) -> Found:
        """What is there: containers and volumes, by their labels.

        Raises:
            ConflictError: they belong to a cluster of the same name under another `DFS_HOME`, or to none that is
                known here while a new one of that name is to be made.
        """
        volumes = self._volumes.of(spec)
        states = {role: each.state for role, each in self._role_containers(spec).items()}
        # The keys are kept last: a master without them was not made to its end.
        initialised = volume_name(spec.name, MASTER) in volumes and self._store.paths(spec.name).credentials.exists()
        # Only a cluster without a master asks whether a node has joined: somebody may have made volumes for it before.
        # A volume beyond the nodes that are asked for counts as well: its chunks need the master of before.
        there = [] if initialised else self._volumes.nodes(spec)
        joined = frozenset(role for role in there if self._volume_has_joined(spec, role))
        if self._store.find(spec.name) is None:
            self._check_nothing_of_that_name(spec, states, joined)
        return Found(
            master_initialised=initialised,
            running=frozenset(role for role, state in states.items() if state == "running"),
            stuck=frozenset(role for role, state in states.items() if state in _STUCK),
            joined=joined,
        )

    def _check_nothing_of_that_name(self, spec: ClusterSpec, roles: Iterable[str], joined: Iterable[str]) -> None:
        """A new cluster never goes where another one is: that would end it, and its rollback would delete that."""
        there = [container_name(spec.name, role) for role in roles]
        there += [volume_name(spec.name, role) for role in sorted(joined)]
        if there:
            raise ConflictError(
                f"{there[0]} on this Docker Engine is of a cluster {spec.name!r} whose directory is not below "
                f"DFS_HOME={self._home}: put clusters/{spec.name} back there, or use another --name "
                "(or remove its containers and volumes, if nothing of it is needed)."
            )
        for role in spec.roles:
            self._volumes.check(spec, role)

    def _own_containers(self, spec: ClusterSpec) -> list[FoundContainer]:
        found = self._sdk.containers({LABEL_CLUSTER: spec.name})
        for each in found:
            self._volumes.check_home(each.name, each.labels.get(LABEL_HOME, ""))
        return [each for each in found if LABEL_ROLE in each.labels]

    def _role_containers(self, spec: ClusterSpec) -> dict[str, FoundContainer]:
        """The containers of roles; neither helpers nor those that an upgrade set aside."""
        named = {each.name: each for each in self._own_containers(spec)}
        names = {role: container_name(spec.name, role) for role in spec.roles}
        return {role: named[name] for role, name in names.items() if name in named}

    # -- starting -----------------------------------------------------------------------------------------------

    def initialise_master(self, spec: ClusterSpec) -> None:
        """Let `dfs-master init` work in the master's volume; its directory gets its name when all of it is there.

        Raises:
            ConflictError: the volume is not this cluster's, or holds more than an attempt that was cut short.
        """
        if self._volumes.check(spec, MASTER):
            self._remove_unfinished_master(spec)
        self._volumes.make(spec, MASTER)
        printed, complaint = io.BytesIO(), io.BytesIO()
        command = [MASTER_PROGRAM, "init", "--data", MASTER_DATA_NEW, "--copies", str(spec.copies)]
        with self._helper(spec, MASTER) as helper:
            # Run inside a waiting container, what it prints comes here and stands in no log.
            for each in (command, ["python", "-c", _RENAME]):
                if self._sdk.run_in(helper, each, printed, complaint) != 0:
                    words = complaint.getvalue().decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
                    raise DfsError(words or "dfs-master init failed without a word.")
        try:
            credentials = msgspec.json.decode(printed.getvalue(), type=Credentials)
        except msgspec.DecodeError as error:
            raise InternalError("dfs-master init printed no keys; is the image whole?") from error
        self._store.save_credentials(spec.name, credentials)

    def _remove_unfinished_master(self, spec: ClusterSpec) -> None:
        """Remove what an attempt left that was cut short before its keys were kept: no node has joined that master."""
        complaint = (
            f"The volume {volume_name(spec.name, MASTER)} holds the metadata of a cluster whose keys are not here: "
            f"put {self._store.paths(spec.name).credentials} back from a backup, or use another --name."
        )
        container = self._role_containers(spec).get(MASTER)
        if container is not None and container.state in {"running", *_STUCK}:
            raise ConflictError(complaint)
        said = io.BytesIO()
        with self._helper(spec, MASTER) as helper:
            command = [MASTER_PROGRAM, "db", "show", "nodes", "--json", "--data", MASTER_DATA]
            code = self._sdk.run_in(helper, command, said, io.BytesIO())
        # What cannot be read may hold a cluster: only the two answers that say otherwise count.
        if code != NotFoundError.exit_code and (code != 0 or said.getvalue()):
            raise ConflictError(complaint)
        for each in self._own_containers(spec):
            # A helper that a killed deploy left holds on to the volume for an hour.
            if each.name == container_name(spec.name, MASTER) or each.labels[LABEL_ROLE] == HELPER:
                self._sdk.remove(each.name)
        self._volumes.remove(spec, MASTER)

    def start_master(self, spec: ClusterSpec) -> None:
        """Start the master's container over its volume."""
        self._make_network(spec)
        self._run(self._master(spec))

    def start_node(self, spec: ClusterSpec, node: NodeSpec) -> None:
        """Start a node's container over its volume. One that joins for the first time gets the join token as a file.

        Raises:
            ConflictError: it would join with a volume that is not this cluster's.
        """
        token = None
        if node.id is None:
            self._volumes.check(spec, node.name)
            credentials = self._store.credentials(spec.name)
            token = secret_archive(Path(JOIN_TOKEN).name, credentials.join_token.encode() + b"\n")
        self._make_network(spec)
        self._volumes.make(spec, node.name)
        self._run(self._node(spec, node), secret=token)

    def _master(self, spec: ClusterSpec) -> ContainerSpec:
        return master_container(spec, image=self._image, home=self._home)

    def _node(self, spec: ClusterSpec, node: NodeSpec) -> ContainerSpec:
        return node_container(spec, node, image=self._image, home=self._home)

    def _make_network(self, spec: ClusterSpec) -> None:
        """Have the cluster's network.

        Raises:
            ConflictError: there is one of that name that is not ours.
        """
        name = network_name(spec.name)
        found = self._sdk.find_network(name)
        if found is None:
            self._sdk.create_network(name, cluster_labels(spec.name, self._home))
        elif not is_home(found.labels.get(LABEL_HOME, ""), self._home):
            raise ConflictError(f"A network {name} exists on this Docker Engine already; use another --name.")

    def _run(self, wanted: ContainerSpec, *, secret: bytes | None = None) -> None:
        """Start a container as it is wanted; one that was made otherwise is made anew over the same volume.

        `secret` is an archive that it finds in its volume when it starts.
        """
        found = {each.name: each for each in self._sdk.containers({LABEL_CLUSTER: wanted.labels[LABEL_CLUSTER]})}
        existing = found.get(wanted.name)
        if existing is not None and existing.labels.get(LABEL_CONFIG) != wanted.config and existing.state != "paused":
            self._sdk.remove(wanted.name)
            existing = None
        if existing is None:
            self._sdk.create(wanted, restart=True, health=True)
        if secret is not None and (existing is None or existing.state not in {"running", "paused"}):
            # A deploy that was killed between making a container and this leaves one without its secret.
            self._sdk.put_archive(wanted.name, DATA, secret)
        self._sdk.start(wanted.name)

    @contextmanager
    def _helper(self, spec: ClusterSpec, role: str, *, start: bool = True) -> Iterator[str]:
        """The name of a container that waits over a role's volume, there for as long as the block runs."""
        helper = helper_container(spec, role, image=self._image, home=self._home, mark=secrets.token_hex(4))
        try:
            self._sdk.create(helper, restart=False, health=False, temporary=start)
            if start:
                self._sdk.start(helper.name)
            yield helper.name
        finally:
            self._sdk.remove(helper.name)

    # -- ending -------------------------------------------------------------------------------------------------

    def stop(self, spec: ClusterSpec, roles: Sequence[str]) -> None:
        """SIGTERM to all, 10 s for them together, then SIGKILL."""
        there = self._role_containers(spec)
        names = [there[role].name for role in roles if role in there]
        with ThreadPoolExecutor(max_workers=max(len(names), 1)) as together:
            list(together.map(lambda name: self._sdk.stop(name, STOP_SECONDS), names))

    # -- upgrading ----------------------------------------------------------------------------------------------

    def outdated(self, spec: ClusterSpec) -> frozenset[str]:
        """Those of another image than this code's, which is made if need be."""
        found = self._role_containers(spec).items()
        return frozenset(role for role, each in found if each.state == "running" and each.image != self._image)

    def set_aside(self, spec: ClusterSpec, role: str) -> None:
        """The container stays as it was, stopped, under another name."""
        self.stop(spec, [role])
        self._sdk.rename(container_name(spec.name, role), set_aside_name(spec.name, role))

    def can_bring_back(self, spec: ClusterSpec, role: str) -> bool:
        """The container of before is there, under the one name or the other."""
        return True

    def bring_back(self, spec: ClusterSpec, role: str) -> None:
        """The container gets its name again."""
        name, before = container_name(spec.name, role), set_aside_name(spec.name, role)
        if any(each.name == before for each in self._own_containers(spec)):
            self.stop(spec, [role])
            self._sdk.remove(name)
            self._sdk.rename(before, name)
        self._sdk.start(name)

    def let_go(self, spec: ClusterSpec) -> None:
        """Remove the containers of the version before."""
        for role in spec.roles:
            self._sdk.remove(set_aside_name(spec.name, role))

    def discard_unjoined(self, spec: ClusterSpec, node: NodeSpec) -> bool:
        """Remove a node's container, and its volume if this engine made it and no master gave it an id."""
        name = container_name(spec.name, node.name)
        volume = volume_name(spec.name, node.name)
        may_go = self._volumes.made_here(volume) and not self._has_joined(name)
        self._sdk.remove(name)
        if may_go:
            self._volumes.remove(spec, node.name)
        return may_go

    def discard_node(self, spec: ClusterSpec, node: NodeSpec) -> None:
        """Remove a node's container and volume; a volume without our labels stays, and that is said."""
        self._sdk.remove(container_name(spec.name, node.name))
        # An upgrade that was killed leaves it, and a volume that a container names cannot go.
        self._sdk.remove(set_aside_name(spec.name, node.name))
        self._volumes.remove(spec, node.name)

    def _volume_has_joined(self, spec: ClusterSpec, role: str) -> bool:
        with self._helper(spec, role, start=False) as helper:
            return self._has_joined(helper)

    def _has_joined(self, container: str) -> bool:
        try:
            return identity_has_joined(only_file(self._sdk.get_archive(container, f"{NODE_VOLUME}/identity")))
        except NotFoundError:
            return False

    def dismantle(self, spec: ClusterSpec) -> None:
        """Remove the containers and the network; the volumes stay.

        Raises:
            ConflictError: a role still runs, or somebody else's container is on the network.
        """
        found = self._own_containers(spec)
        running = [each for each in found if each.state == "running" and each.labels[LABEL_ROLE] != HELPER]
        if running:
            role = running[0].labels[LABEL_ROLE]
            raise ConflictError(f"{role} of cluster {spec.name!r} still runs; stop the cluster first.")
        for each in found:
            self._sdk.remove(each.name)
        network = self._sdk.find_network(network_name(spec.name))
        if network is not None and is_home(network.labels.get(LABEL_HOME, ""), self._home):
            self._sdk.remove_network(network.name)

    def remove(self, spec: ClusterSpec) -> None:
        """Remove everything of the cluster: containers, network, volumes, and its directory.

        A volume without our labels stays, and that is said.

        Raises:
            ConflictError: a role still runs.
        """
        self.dismantle(spec)
        self._store.mark_destroyed(spec)
        self._volumes.remove_all(spec)
        self._store.forget(spec.name)

    def take_back(self, spec: ClusterSpec) -> None:
        """Remove containers and network, the volumes that this command made, and the cluster's directory."""
        self.dismantle(spec)
        self._volumes.take_back()
        self._store.forget(spec.name)

    def layout(self, spec: ClusterSpec) -> Layout:
        """The containers as they are wanted now, for who writes them down elsewhere."""
        return Layout(
            containers=(self._master(spec), *(self._node(spec, node) for node in spec.nodes)),
            network=network_name(spec.name),
            labels=cluster_labels(spec.name, self._home),
        )

    # -- reading ------------------------------------------------------------------------------------------------

    def data_place(self, spec: ClusterSpec) -> str:
        """The names of the volumes."""
        volumes = [volume_name(spec.name, role) for role in spec.roles]
        return f"the Docker volumes {volumes[0]} to {volumes[-1]}"

    def last_words(self, spec: ClusterSpec, role: str) -> str:
        """The last line that a role wrote. The lines before it are shown at once: a rollback removes them."""
        lines = self.log_tail(spec, role, _LAST_WORDS_LINES)
        if not lines:
            return "its container wrote nothing"
        self._say(f"the last lines of {container_name(spec.name, role)}:")
        for line in lines:
            self._say(f"  {line.text}")
        return message_of(lines[-1])

    def run_master_command(self, spec: ClusterSpec, arguments: Sequence[str]) -> int:
        """Run `dfs-master` in the master's container, or over its volume where that does not run."""
        with self._place_of(spec, MASTER) as container:
            return self._run_master_command(container, arguments)

    def _run_master_command(self, container: str, arguments: Sequence[str]) -> int:
        if list(arguments[:2]) == ["db", "backup"]:
            return back_up(self._sdk, container, Path(arguments[2]), arguments[3:], sys.stdout.buffer)
        command = [MASTER_PROGRAM, *arguments, "--data", MASTER_DATA]
        code = self._sdk.run_in(container, command, sys.stdout.buffer, sys.stderr.buffer)
        sys.stdout.buffer.flush()
        sys.stderr.buffer.flush()
        return code

    def save_catalog(self, spec: ClusterSpec, target: Path) -> None:
        """By `dfs-master db backup` inside."""
        with self._place_of(spec, MASTER) as container:
            code = back_up(self._sdk, container, target, (), io.BytesIO())
        if code != 0:
            raise CorruptError(f"The metadata of {spec.name!r} cannot be copied; see `dfs db check`.")

    def scan_volume(self, spec: ClusterSpec, node: NodeSpec, out: BinaryIO, *, read_data: bool) -> None:
        """In a container over the volume."""
        command = ["python", "-m", "dfs_deploy.fsck.scan", NODE_VOLUME, *(["--data"] if read_data else [])]
        complaint = io.BytesIO()
        with self._place_of(spec, node.name) as container:
            code = self._sdk.run_in(container, command, out, complaint)
        if code != 0:
            raise VolumeForeignError(complaint.getvalue().decode("utf-8", "replace").strip())

    @contextmanager
    def _place_of(self, spec: ClusterSpec, role: str) -> Iterator[str]:
        """A running container over a role's volume: the role's own, or a helper where that does not run."""
        if role in self.look(spec).running:
            yield container_name(spec.name, role)
            return
        with self._helper(spec, role) as helper:
            yield helper

    def log_tail(self, spec: ClusterSpec, role: str, lines: int) -> list[LogLine]:
        """The last lines of a container's log."""
        data = self._sdk.log_tail(container_name(spec.name, role), lines)
        texts = data.decode("utf-8", "replace").removesuffix("\n").split("\n") if data else []
        return [LogLine(role, text) for text in texts]

    def follow_logs(self, spec: ClusterSpec, roles: Sequence[str], lines: int) -> Iterator[LogLine]:
        """The last lines of each role, then what is written, over restarts."""
        since = int(self._clock.wall_ms() / 1_000)
        for role in roles:
            yield from self.log_tail(spec, role, lines)
        names = {role: container_name(spec.name, role) for role in roles}
        yield from follow_containers(self._sdk.follow_log, names, since, self._clock)
