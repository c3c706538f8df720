"""The only place that imports the Docker SDK: what we need of it, in our own words and with our own errors."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import docker
from docker.context import ContextAPI
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import LogConfig, Mount
from docker.utils.config import find_config_file
from requests.exceptions import RequestException

from dfs_deploy.containers import (
    DATA,
    INSIDE_PORT,
    LOG_OPTIONS,
    MEMORY_BYTES_MAX,
    PIDS_MAX,
    TMP_OPTIONS,
    USER,
    ContainerSpec,
)
from dfs_deploy.image.builder import BuiltImage
from dfs_wire.errors import ConflictError, NotFoundError, UnavailableError, UsageError

#: A host that was rebooted serves again; what somebody stopped stays stopped.
_RESTART: Any = {"Name": "unless-stopped"}
#: How long the engine may think about one request, in seconds; builds and logs are streams and may take longer.
REQUEST_SECONDS = 120
_PING_SECONDS = 5
_CONFLICT = 409
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class FoundContainer:
    """A container as the engine lists it. `state` is running, paused, restarting, created, exited or dead."""

    name: str
    labels: Mapping[str, str]
    state: str
    image: str


@dataclass(frozen=True, slots=True)
class FoundNetwork:
    """A network as the engine lists it."""

    name: str
    labels: Mapping[str, str]


class DockerSdk:
    """One Docker Engine. Safe to share between threads, as far as each works on containers of its own."""

    def __init__(self, client: docker.DockerClient) -> None:
        self._client = client

    @classmethod
    def connect(cls, context: str = "", *, seconds: int = REQUEST_SECONDS) -> Self:
        """The engine of a Docker context; without one, that which `DOCKER_HOST` or the current context names.

        Raises:
            UsageError: there is no such context.
            UnavailableError: it does not answer.
        """
        named = context or ("" if "DOCKER_HOST" in os.environ else os.environ.get("DOCKER_CONTEXT", ""))
        with translated("The Docker Engine does not answer; start it, or use --engine process"):
            # An unknown name would mean the engine of this machine to the SDK.
            if named and ContextAPI.get_context(named) is None:
                # It looks for contexts beside this file only.
                hint = "see `docker context ls`" if find_config_file() else "~/.docker/config.json is missing"
                raise UsageError(f"There is no Docker context {named!r}: {hint}.")
            if context:
                place = ContextAPI.kwargs_from_context(context)
                client = docker.DockerClient(**place, timeout=seconds, use_ssh_client=_over_ssh(place["base_url"]))
            else:
                address = os.environ.get("DOCKER_HOST") or ContextAPI.kwargs_from_context().get("base_url", "")
                client = docker.from_env(timeout=seconds, use_ssh_client=_over_ssh(address))
            client.ping()
        return cls(client)

    @classmethod
    def answers(cls) -> bool:
        """Whether an engine is there that we may use."""
        try:
            cls.connect(seconds=_PING_SECONDS).close()
        except UnavailableError:
            return False
        return True

    def close(self) -> None:
        """Let go of its connections."""
        self._client.close()

    # -- images -------------------------------------------------------------------------------------------------

    @property
    def architecture(self) -> str:
        """As the engine calls it: `amd64`, `arm64`."""
        with translated("The Docker Engine does not say what it is"):
            return str(self._client.version()["Arch"])

    def image_labels(self, reference: str) -> Mapping[str, str] | None:
        """The labels of an image that is there, or None."""
        with translated(f"The image {reference} cannot be looked up"):
            try:
                return dict(self._client.images.get(reference).labels)
            except ImageNotFound:
                return None

    def pull(self, reference: str) -> None:
        """Get an image from its registry."""
        with translated(f"The image {reference} cannot be pulled"):
            self._client.images.pull(reference)

    def import_image(self, archive: Path, reference: str) -> None:
        """Make an image of one tar archive."""
        repository, _, tag = reference.rpartition(":")
        with translated(f"The image {reference} cannot be imported"):
            self._client.api.import_image_from_file(str(archive), repository=repository, tag=tag)

    def build(
        self, context: BinaryIO, *, reference: str, arguments: Mapping[str, str], labels: Mapping[str, str]
    ) -> None:
        """Build an image from a context, a tar archive."""
        said: list[str] = []
        with translated(f"The image {reference} cannot be built"):
            for event in self._client.api.build(
                fileobj=context,
                custom_context=True,
                buildargs=dict(arguments),
                labels=dict(labels),
                tag=reference,
                rm=True,
                forcerm=True,
                decode=True,
                use_config_proxy=False,
            ):
                if "error" in event:
                    raise UnavailableError(f"The image {reference} cannot be built: {_build_failure(event, said)}.")
                said.append(str(event.get("stream", "")))

    def remove_untagged(self, label: str) -> None:
        """Remove images without a name that carry a label (`key=value`); what they were built on stays as cache."""
        with translated("Images of earlier builds cannot be removed"):
            for image in self._client.images.list(filters={"dangling": True, "label": label}):
                with suppress(APIError):  # somebody else's build is using it
                    self._client.api.remove_image(str(image.id), noprune=True)

    def built_images(self, label: str) -> list[BuiltImage]:
        """The images with a name that carry a label, whatever its value."""
        with translated("The images cannot be listed"):
            found = self._client.api.images(filters={"label": label, "dangling": False})
        return [BuiltImage(name, each["Created"]) for each in found for name in each["RepoTags"] or ()]

    def remove_image(self, reference: str) -> None:
        """Remove an image that no container uses; one that is gone or in use is fine."""
        with translated(f"The image {reference} cannot be removed"):
            try:
                self._client.images.remove(reference)
            except ImageNotFound:
                return
            except APIError as error:
                if error.status_code != _CONFLICT:
                    raise

    # -- networks and volumes -----------------------------------------------------------------------------------

    def find_network(self, name: str) -> FoundNetwork | None:
        """The network of that name, or None."""
        with translated(f"The network {name} cannot be looked up"):
            for network in self._client.networks.list(names=[name]):
                if network.name == name:
                    return FoundNetwork(name, network.attrs["Labels"] or {})
        return None

    def create_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a bridge network of its own."""
        with translated(f"The network {name} cannot be made"):
            self._client.networks.create(name, driver="bridge", labels=dict(labels))

    def remove_network(self, name: str) -> None:
        """Remove a network; none is fine."""
        with translated(f"The network {name} cannot be removed"):
            for network in self._client.networks.list(names=[name]):
                if network.name == name:
                    network.remove()

    def volumes(self, labels: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        """The named volumes that carry these labels, with all of theirs."""
        with translated("The volumes cannot be listed"):
            found = self._client.volumes.list(filters={"label": _pairs(labels)})
            return {volume.name: volume.attrs.get("Labels") or {} for volume in found}

    def find_volume(self, name: str) -> Mapping[str, str] | None:
        """The labels of the named volume of that name, or None."""
        with translated(f"The volume {name} cannot be looked up"):
            try:
                return self._client.volumes.get(name).attrs.get("Labels") or {}
            except NotFound:
                return None

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a named volume; one that exists stays as it is."""
        with translated(f"The volume {name} cannot be made"):
            self._client.volumes.create(name, labels=dict(labels))

    def remove_volume(self, name: str) -> None:
        """Delete a named volume with all that is in it; none is fine."""
        with translated(f"The volume {name} cannot be removed"):
            try:
                self._client.volumes.get(name).remove()
            except NotFound:
                return

    # -- containers ---------------------------------------------------------------------------------------------

    def containers(self, labels: Mapping[str, str]) -> list[FoundContainer]:
        """The containers that carry these labels, running or not."""
        with translated("The containers cannot be listed"):
            found = self._client.api.containers(all=True, filters={"label": _pairs(labels)})
        return [
            FoundContainer(each["Names"][0].lstrip("/"), each["Labels"] or {}, each["State"], each["Image"])
            for each in found
            if each["Names"]
        ]

    def create(self, spec: ContainerSpec, *, restart: bool, health: bool, temporary: bool = False) -> None:
        """Make a container, hardened, and do not start it."""
        ports: dict[str, int | list[int] | tuple[str, int] | None] = {}
        if spec.publish is not None:
            ports[f"{INSIDE_PORT}/tcp"] = (spec.publish.host, spec.publish.port)
        with translated(f"The container {spec.name} cannot be made"):
            self._client.containers.create(
                spec.image,
                list(spec.command),
                name=spec.name,
                hostname=spec.hostname,
                labels=spec.all_labels,
                user=USER,
                read_only=True,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges:true"],
                pids_limit=PIDS_MAX,
                mem_limit=MEMORY_BYTES_MAX,
                memswap_limit=MEMORY_BYTES_MAX,
                tmpfs={"/tmp": TMP_OPTIONS},  # noqa: S108 - inside the container
                mounts=[Mount(DATA, spec.volume)],
                network=spec.network,
                network_mode=None if spec.network is not None else "none",
                ports=ports,
                log_config=LogConfig(type="json-file", config=dict(LOG_OPTIONS)),
                restart_policy=_RESTART if restart else None,
                healthcheck=None if health else {"test": ["NONE"]},
                auto_remove=temporary,
                # The proxy settings of whoever deploys may hold a password.
                use_config_proxy=False,
            )

    def start(self, name: str) -> None:
        """Start a container, or let a paused one go on."""
        with translated(f"The container {name} cannot be started"):
            container = self._client.containers.get(name)
            if container.status == "paused":
                container.unpause()
            else:
                container.start()

    def stop(self, name: str, seconds: int) -> None:
        """SIGTERM, and SIGKILL after `seconds`; one that is gone or does not run is fine."""
        with translated(f"The container {name} cannot be stopped"):
            try:
                container = self._client.containers.get(name)
                if container.status == "paused":
                    container.unpause()
                container.stop(timeout=seconds)
            except NotFound:
                return

    def rename(self, name: str, new: str) -> None:
        """Give a container another name."""
        with translated(f"The container {name} cannot be renamed"):
            self._client.containers.get(name).rename(new)

    def remove(self, name: str) -> None:
        """Remove a container, running or not; one that is gone is fine."""
        with translated(f"The container {name} cannot be removed"):
            try:
                self._client.containers.get(name).remove(force=True)
            except NotFound:
                return

    # -- inside a container -------------------------------------------------------------------------------------

    def put_archive(self, name: str, directory: str, archive: bytes) -> None:
        """Unpack a tar archive in a directory of a container, running or not."""
        with translated(f"Files cannot be put into the container {name}"):
            self._client.containers.get(name).put_archive(directory, archive)

    def get_archive(self, name: str, path: str) -> Iterator[bytes]:
        """A file or directory of a container as a tar archive, piece by piece.

        Raises:
            NotFoundError: there is no such file.
        """
        with translated(f"{path} cannot be read from the container {name}"):
            try:
                pieces, _ = self._client.containers.get(name).get_archive(path)
                yield from pieces
            except NotFound as error:
                raise NotFoundError(f"There is no {path} in the container {name}.") from error

    def run_in(self, name: str, command: Sequence[str], out: BinaryIO, err: BinaryIO) -> int:
        """Run a command in a running container, its output on ours; its exit code."""
        with translated(f"{command[0]} cannot be run in the container {name}"):
            api = self._client.api
            started = api.exec_create(name, list(command))["Id"]
            for said, complained in api.exec_start(started, stream=True, demux=True):
                out.write(said or b"")
                err.write(complained or b"")
            return int(api.exec_inspect(started)["ExitCode"])

    def log_tail(self, name: str, lines: int) -> bytes:
        """The last lines of both outputs; nothing of a container that is not there."""
        with translated(f"The log of {name} cannot be read"):
            container = self._find(name)
            return b"" if container is None or lines <= 0 else container.logs(tail=lines)

    def follow_log(self, name: str, since_seconds: int) -> Iterator[bytes]:
        """What is written from a time on (seconds since 1970), in pieces, until the container stops."""
        with translated(f"The log of {name} cannot be read"):
            container = self._find(name)
            if container is not None:
                yield from container.logs(stream=True, follow=True, since=since_seconds)

    def _find(self, name: str) -> Container | None:
        try:
            return self._client.containers.get(name)
        except NotFound:
            return None


def _over_ssh(address: str) -> bool:
    """Whether the way to an engine leads through the machine's own `ssh`, with its keys and settings."""
    return address.startswith("ssh://")


def _build_failure(event: Mapping[str, Any], said: Sequence[str]) -> str:
    """The engine's error, and what the step wrote before it."""
    lines = [_COLOUR.sub("", line).strip() for line in "".join(said).splitlines()]
    tail = [line for line in lines if line and not line.startswith(("--->", "Removing intermediate"))][-3:]
    return f"{str(event['error']).strip()} (before that: {' / '.join(tail)})"


def _pairs(labels: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in labels.items()]


@contextmanager
def translated(complaint: str) -> Iterator[None]:
    """Foreign errors become ours: `complaint` says what could not be done, the engine says why.

    Raises:
        ConflictError: a name is taken, or something is still in use.
        UnavailableError: anything else that the engine or the way to it refused.
    """
    try:
        yield
    except APIError as error:
        why = str(error.explanation or error).strip().rstrip(".")
        if error.status_code == _CONFLICT:
            raise ConflictError(f"{complaint}: {why}.") from error
        raise UnavailableError(f"{complaint}: {why}.") from error
    except (DockerException, RequestException) as error:
        raise UnavailableError(f"{complaint} ({str(error).strip().rstrip('.')}).") from error
