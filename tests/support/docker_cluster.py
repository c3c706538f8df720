"""A real cluster of containers in a home of its own, for tests; everything of it is found and removed by label."""

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from tests.support.deployed_cluster import DeployedCluster
from tests.support.polling import poll_for

from dfs_deploy.containers import LABEL_CLUSTER, LABEL_HOME, container_name, network_name, volume_name
from dfs_deploy.docker_engine.sdk import DockerSdk
from dfs_deploy.state import Credentials
from dfs_runtime.clock import SystemClock
from dfs_wire.errors import DfsError

#: Homes of tests begin so; the pid behind it tells whether their run still lives.
HOME_PREFIX = "dfs-e2e-"
_PORT_ATTEMPTS = 5
_COME_BACK_SECONDS = 60
_LAST_LINES = 12


def engine_answers() -> bool:
    """Whether there is a Docker Engine."""
    with warnings.catch_warnings():
        # The SDK leaves a socket to the collector when nobody answers.
        warnings.simplefilter("ignore", ResourceWarning)
        found = DockerSdk.answers()
        gc.collect()
    return found


def remove_by_home(client: docker.DockerClient, home: str) -> None:
    """Remove every container, network and volume that belongs to clusters below a home."""
    label = {"label": f"{LABEL_HOME}={home}"}
    for container in client.containers.list(all=True, filters=label, ignore_removed=True):
        with suppress(NotFound):
            container.remove(force=True, v=True)
    for network in client.networks.list(filters=label):
        with suppress(NotFound):
            network.remove()
    for volume in client.volumes.list(filters=label):
        with suppress(NotFound):
            volume.remove(force=True)


def homes_of_dead_runs(client: docker.DockerClient) -> Iterator[str]:
    """Homes of test runs that were killed before they could clean up."""
    labels = [each.labels for each in client.containers.list(all=True, filters={"label": LABEL_HOME})]
    labels += [each.attrs.get("Labels") or {} for each in client.volumes.list(filters={"label": LABEL_HOME})]
    for home in {each[LABEL_HOME] for each in labels}:
        _, found, rest = home.partition(HOME_PREFIX)
        pid = rest.partition("-")[0]
        if found and pid.isdigit() and not Path("/proc", pid).exists():
            yield home


class DockerCluster(DeployedCluster):
    """One deployed cluster of containers. Used from one thread."""

    def __init__(self, engine: docker.DockerClient, home: Path, name: str) -> None:
        super().__init__(home, name)
        self.engine = engine

    def deploy(self, *options: str) -> None:
        """As users do, with Docker."""
        super().deploy("--engine", "docker", *options)

    # -- looking ------------------------------------------------------------------------------------------------

    @property
    def credentials(self) -> Credentials:
        """All keys of the cluster."""
        return self._store.credentials(self.name)

    def container(self, role: str) -> Container:
        """The container of a role, as it is now."""
        return self.engine.containers.get(container_name(self.name, role))

    def containers(self) -> list[Container]:
        """All containers of the cluster, running or not."""
        label = {"label": f"{LABEL_CLUSTER}={self.name}"}
        return self.engine.containers.list(all=True, filters=label, ignore_removed=True)

    def volumes(self) -> list[str]:
        """The names of all volumes of the cluster."""
        label = {"label": f"{LABEL_CLUSTER}={self.name}"}
        return sorted(volume.name for volume in self.engine.volumes.list(filters=label))

    @property
    def network(self) -> str:
        """The name of the cluster's network."""
        return network_name(self.name)

    def volume(self, role: str) -> str:
        """The name of a role's volume."""
        return volume_name(self.name, role)

    # -- disturbing ---------------------------------------------------------------------------------------------

    def kill(self, *roles: str) -> None:
        """SIGKILL to roles, all at once as far as one can."""
        for container in [self.container(role) for role in roles]:
            container.kill()

    def pause(self, role: str) -> Container:
        """Hold a role's processes still. On a busy machine the engine may need several tries to catch them all."""
        container = self.container(role)

        def paused() -> bool:
            try:
                container.pause()
            except APIError:
                container.reload()
                return bool(container.status == "paused")
            return True

        poll_for(f"{role} standing still", paused, seconds=_COME_BACK_SECONDS, every=0.5)
        return container

    def start_again(self, *roles: str) -> None:
        """`docker start`, as an operator without `dfs` would, and wait until all nodes are live."""
        since = SystemClock().wall_ms()
        for role in roles:
            self.container(role).start()
        self.await_live(since)

    def await_live(self, since_ms: int | None = None) -> None:
        """Wait until the master sees all nodes live and heard of them since a moment; without one, lately.

        What it heard before a kill is no sign of life: name the moment of the start behind it.
        """
        wanted = {node.name for node in self.spec.nodes}

        def live() -> bool:
            try:
                with self.client() as dfs:
                    seen = dfs.status().nodes
            except DfsError:
                return False
            since = since_ms if since_ms is not None else SystemClock().wall_ms() - 10_000
            return wanted <= {node.name for node in seen if node.state == "live" and node.last_seen_at_ms >= since}

        try:
            poll_for(f"{sorted(wanted)} being live", live, seconds=_COME_BACK_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.last_words()}") from error

    def last_words(self) -> str:
        """What each container is and said last, for whoever reads of a failure."""
        return "\n".join(
            f"{each.name} ({each.status}): {each.logs(tail=_LAST_LINES).decode('utf-8', 'replace')}"
            for each in self.containers()
        )

    def close(self) -> None:
        """Remove everything, whatever state it is in."""
        for container in self.containers():
            with suppress(APIError):
                container.remove(force=True, v=True)
        remove_by_home(self.engine, str(self.home))


def is_ci() -> bool:
    """Whether what cannot be tested must fail instead of being skipped."""
    return os.environ.get("CI", "").lower() == "true"
