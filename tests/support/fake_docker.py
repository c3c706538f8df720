"""A Docker Engine in memory: containers, volumes and networks that only remember, under `DockerSdk`'s methods."""

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from dfs_deploy.containers import ContainerSpec
from dfs_deploy.docker_engine.sdk import FoundContainer, FoundNetwork
from dfs_wire.errors import ConflictError, NotFoundError

#: `(container, command, standard output) -> exit code`.
Program = Callable[[str, Sequence[str], BinaryIO], int]


@dataclass
class FakeContainer:
    """One container; `files` are those of its volume and shared with it."""

    spec: ContainerSpec
    state: str = "created"
    log: bytes = b""


@dataclass
class FakeDocker:
    """The methods that `DockerEngine` uses. `calls` holds what was done, in order."""

    made: dict[str, FakeContainer] = field(default_factory=dict)
    stored: dict[str, dict[str, str]] = field(default_factory=dict)
    networks: dict[str, FoundNetwork] = field(default_factory=dict)
    #: volume -> path -> content.
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    program: Program = lambda _container, _command, _out: 0

    def find_network(self, name: str) -> FoundNetwork | None:
        """The network of that name."""
        return self.networks.get(name)

    def create_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Make one."""
        self.calls.append(f"create network {name}")
        self.networks[name] = FoundNetwork(name, dict(labels))

    def remove_network(self, name: str) -> None:
        """Remove one."""
        self.calls.append(f"remove network {name}")
        self.networks.pop(name, None)

    def volumes(self, labels: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        """Those with these labels."""
        return {name: have for name, have in self.stored.items() if labels.items() <= have.items()}

    def find_volume(self, name: str) -> Mapping[str, str] | None:
        """The labels of one."""
        return self.stored.get(name)

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make one."""
        self.calls.append(f"create volume {name}")
        self.stored[name] = dict(labels)
        self.files[name] = {}

    def remove_volume(self, name: str) -> None:
        """Remove one that no container names."""
        if any(each.spec.volume == name for each in self.made.values()):
            raise ConflictError(f"The volume {name} is in use.")
        self.calls.append(f"remove volume {name}")
        self.stored.pop(name, None)
        self.files.pop(name, None)

    def containers(self, labels: Mapping[str, str]) -> list[FoundContainer]:
        """Those with these labels."""
        return [
            FoundContainer(name, each.spec.all_labels, each.state, each.spec.image)
            for name, each in self.made.items()
            if labels.items() <= each.spec.all_labels.items()
        ]

    def create(self, spec: ContainerSpec, *, restart: bool, health: bool, temporary: bool = False) -> None:
        """Make one; names are unique."""
        if spec.name in self.made:
            raise ConflictError(f"{spec.name} exists")
        self.calls.append(f"create {spec.name}")
        self.made[spec.name] = FakeContainer(spec)
        self.files.setdefault(spec.volume, {})

    def start(self, name: str) -> None:
        """Run."""
        self.calls.append(f"start {name}")
        self.made[name].state = "running"

    def stop(self, name: str, seconds: int) -> None:
        """End."""
        self.calls.append(f"stop {name}")
        if name in self.made:
            self.made[name].state = "exited"

    def rename(self, name: str, new: str) -> None:
        """Give it another name."""
        self.calls.append(f"rename {name} to {new}")
        self.made[new] = self.made.pop(name)

    def remove(self, name: str) -> None:
        """Remove, if it is there."""
        if self.made.pop(name, None) is not None:
            self.calls.append(f"remove {name}")

    def put_archive(self, name: str, directory: str, archive: bytes) -> None:
        """Unpack into the volume."""
        with tarfile.open(fileobj=io.BytesIO(archive)) as found:
            for entry in found:
                file = found.extractfile(entry)
                if file is not None:
                    self.files[self.made[name].spec.volume][f"{directory}/{entry.name}"] = file.read()

    def get_archive(self, name: str, path: str) -> Iterator[bytes]:
        """A file of the volume, in small pieces."""
        data = self.files[self.made[name].spec.volume].get(path)
        if data is None:
            raise NotFoundError(f"There is no {path}.")
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w") as archive:
            entry = tarfile.TarInfo(path.rpartition("/")[2])
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        whole = target.getvalue()
        return (whole[start : start + 100] for start in range(0, len(whole), 100))

    def run_in(self, name: str, command: Sequence[str], out: BinaryIO, err: BinaryIO) -> int:
        """Whatever `program` does."""
        self.calls.append(f"run {command[0]} {command[1]}")
        return self.program(name, command, out)

    def log_tail(self, name: str, lines: int) -> bytes:
        """The end of the log."""
        found = self.made.get(name)
        return b"".join(found.log.splitlines(keepends=True)[-lines:]) if found is not None and lines else b""

    def follow_log(self, name: str, since_seconds: int) -> Iterator[bytes]:
        """All of the log, and then the container stops."""
        yield self.made[name].log
