"""The engines by name, each made when it is first needed: a cluster of processes asks no Docker Engine anything."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dfs_deploy.engine import Engine
from dfs_deploy.spec import ClusterSpec
from dfs_deploy.state import StateStore
from dfs_runtime.clock import Clock
from dfs_wire.errors import DfsError, UsageError

if TYPE_CHECKING:
    from dfs_deploy.docker_engine.engine import DockerEngine
    from dfs_deploy.docker_engine.sdk import DockerSdk
    from dfs_deploy.image.builder import ImageBuilder

_KINDS = ("docker", "process")


class Engines(Mapping[str, Engine]):
    """`docker`, `process`, and `docker@CONTEXT` for each Docker context. Used by one thread.

    `progress` gets a line about each thing that is done, `say` what a person should still see afterwards.
    """

    def __init__(
        self,
        store: StateStore,
        home: Path,
        clock: Clock,
        environ: Mapping[str, str],
        *,
        progress: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._home = home
        self._clock = clock
        self._environ = environ
        self._progress = progress
        self._say = say
        self._made: dict[str, Engine] = {}

    def __getitem__(self, name: str) -> Engine:
        """The engine of that name.

        Raises:
            KeyError: there is none.
            UnavailableError: it does not answer.
        """
        if name not in self._made:
            kind, _, context = name.partition("@")
            if kind not in _KINDS:
                raise KeyError(name)
            self._made[name] = self._docker(context) if kind == "docker" else self._process()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such an engine; it is not made for the answer."""
        return isinstance(name, str) and name.partition("@")[0] in _KINDS

    def __iter__(self) -> Iterator[str]:
        return iter(_KINDS)

    def __len__(self) -> int:
        return len(_KINDS)

    def for_new_clusters(self) -> str:
        """What `--engine auto` means: `docker` where an engine answers and an image is there or can be made."""
        from dfs_deploy.docker_engine.sdk import DockerSdk

        if not DockerSdk.answers():
            return "process"
        try:
            self.images.ensure()
        except DfsError as error:
            self._say(f"A Docker Engine answers, but no image can be made for it: {error.message}")
            self._say("The cluster runs as local processes instead, for life; `--engine docker` would insist.")
            return "process"
        return "docker"

    @cached_property
    def images(self) -> "ImageBuilder":
        """What makes images for the Docker Engine.

        Raises:
            UnavailableError: no engine answers.
        """
        from dfs_deploy.image.builder import ImageBuilder, image_cache

        return ImageBuilder(self._sdk, image_cache(), self._progress, self._say)

    @cached_property
    def _sdk(self) -> "DockerSdk":
        from dfs_deploy.docker_engine.sdk import DockerSdk

        return DockerSdk.connect()

    def docker(self, spec: ClusterSpec) -> "DockerEngine":
        """The engine over Docker that a cluster of containers lies on.

        Raises:
            UsageError: the cluster does not run as containers.
            UnavailableError: the engine does not answer.
        """
        from dfs_deploy.docker_engine.engine import DockerEngine

        engine = self[spec.engine_key]
        if not isinstance(engine, DockerEngine):
            raise UsageError(f"Cluster {spec.name!r} runs as processes, not as containers.")
        return engine

    def _docker(self, context: str) -> "DockerEngine":
        from dfs_deploy.docker_engine.engine import DockerEngine
        from dfs_deploy.docker_engine.sdk import DockerSdk
        from dfs_deploy.image.builder import ImageBuilder, image_cache

        if not context:
            return DockerEngine(self._sdk, self.images, self._store, self._home, self._clock, self._say)
        sdk = DockerSdk.connect(context)
        images = ImageBuilder(sdk, image_cache(), self._progress, self._say)
        return DockerEngine(sdk, images, self._store, self._home, self._clock, self._say)

    def _process(self) -> Engine:
        from dfs_deploy.process_engine import ProcessEngine

        return ProcessEngine(self._store, self._home, self._clock, environ=self._environ, say=self._say)
