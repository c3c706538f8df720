"""The engine over Docker on an engine in memory, below a home of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from tests.support.deploy import CREDENTIALS, make_spec
from tests.support.fake_docker import FakeDocker

from dfs_deploy.docker_engine.engine import DockerEngine
from dfs_deploy.docker_engine.sdk import DockerSdk
from dfs_deploy.image.builder import ImageBuilder
from dfs_deploy.spec import ClusterSpec
from dfs_deploy.state import StateStore
from dfs_runtime.clock import ManualClock

SPEC = make_spec(engine="docker")
GROWN = make_spec(nodes=4, engine="docker")
JOINED = b"DFSIDENT\0\0\0\0" + msgspec.msgpack.encode({"node_id": 7})
UNJOINED = b"DFSIDENT\0\0\0\0" + msgspec.msgpack.encode({"node_id": 0})


class _FakeImages:
    """Has the image already."""

    reference = "dfs:1"

    def ensure(self) -> str:
        """Its name."""
        return self.reference


class DockerMachine:
    """A home, an engine in memory, and ours over it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.docker = FakeDocker(program=print_keys)
        self.store = StateStore(home, ManualClock())
        self.images = _FakeImages()
        self.said: list[str] = []
        self.engine = self.fresh_engine()

    def fresh_engine(self, home: Path | None = None) -> DockerEngine:
        """One that remembers nothing, as the next `dfs` command has one."""
        sdk, images = cast("DockerSdk", self.docker), cast("ImageBuilder", self.images)
        return DockerEngine(sdk, images, self.store, home or self.home, ManualClock(), self.said.append)

    def deploy(self, spec: ClusterSpec = SPEC) -> None:
        """Everything runs."""
        self.store.save(spec)
        self.engine.initialise_master(spec)
        self.engine.start_master(spec)
        for node in spec.nodes:
            self.engine.start_node(spec, node)


def print_keys(_container: str, command: Sequence[str], out: BinaryIO) -> int:
    """What `dfs-master init` prints, and nothing for the rest."""
    if "init" in command:
        out.write(msgspec.json.encode(CREDENTIALS))
    return 0
