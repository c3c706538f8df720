"""A client in a container of its own, on the cluster's network, and the image on its own."""

import io
import os
import secrets
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing

import docker
import pytest
from tests.support.docker_cluster import DockerCluster

from dfs_deploy.containers import USER_ID
from dfs_deploy.docker_engine.sdk import DockerSdk
from dfs_deploy.image.builder import DIGEST_LABEL, stale_images

# Its helper image cannot be pulled everywhere; our fixtures remove what they make themselves.
os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"

from testcontainers.core.container import DockerContainer


def archive_of(name: str, data: bytes) -> bytes:
    """One file that the image's user can read."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for parent in ("dfs", "dfs/profiles"):
            directory = tarfile.TarInfo(parent)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o700
            directory.uid = directory.gid = USER_ID
            archive.addfile(directory)
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o600
        entry.uid = entry.gid = USER_ID
        archive.addfile(entry, io.BytesIO(data))
    return target.getvalue()


@pytest.fixture
def client_container(shared_cluster: DockerCluster, image: str) -> Iterator[DockerContainer]:
    """A container on the cluster's network that has the exported profile and nothing else."""
    profile = shared_cluster.dfs("profile", "export", "--inside").stdout.encode()
    container = DockerContainer(image).with_command(["python", "-c", "import time; time.sleep(600)"])
    container.with_kwargs(network=shared_cluster.network)
    with container as running:
        found = running.get_wrapped_container()
        found.put_archive("/tmp", archive_of(f"dfs/profiles/{shared_cluster.name}.toml", profile))
        yield running


def test_a_client_in_a_container_reaches_nodes_by_their_inside_addresses(
    shared_cluster: DockerCluster, client_container: DockerContainer
) -> None:
    """Upload, list and download inside; the host sees the same file, at the addresses outside."""
    found = client_container.get_wrapped_container()

    def run(*command: str) -> str:
        environment = {"DFS_PROFILE": shared_cluster.name}
        said = found.exec_run(["dfs-client", *command], environment=environment)
        assert said.exit_code == 0, said.output.decode()
        return str(said.output.decode())

    assert found.exec_run(["dd", "if=/dev/urandom", "of=/tmp/source", "bs=1M", "count=20"]).exit_code == 0
    run("upload", "/tmp/source", "/from-inside")
    inside = run("list", "-l", "--json", "/from-inside")
    assert f"dfs-{shared_cluster.name}-node-" in inside
    assert "127.0.0.1" not in inside
    run("download", "/from-inside", "/tmp/back")
    assert found.exec_run(["cmp", "/tmp/source", "/tmp/back"]).exit_code == 0
    outside = shared_cluster.dfs_client("list", "-l", "--json", "/from-inside").stdout
    assert "127.0.0.1:" in outside


def test_images_of_older_code_are_found_and_go_unless_used(engine: docker.DockerClient, image: str) -> None:
    """By the label of ours and a name of ours; one of which there is a container stays, running or not."""
    unused, used = (f"dfs:0.0.0-e2e-{secrets.token_hex(6)}" for _ in range(2))
    for reference in (unused, used):
        repository, tag = reference.split(":")
        engine.api.import_image_from_data(
            archive_of("nothing", b""), repository=repository, tag=tag, changes=[f"LABEL {DIGEST_LABEL}=older"]
        )
    container = engine.containers.create(used, ["true"])
    try:
        with closing(DockerSdk.connect()) as sdk:
            found = sdk.built_images(DIGEST_LABEL)
            assert {unused, used} <= set(stale_images(found, image, time.time() + 7_200))
            assert not {unused, used, image} & set(stale_images(found, image, time.time()))
            for reference in (unused, used, "dfs:never-there"):
                sdk.remove_image(reference)
            assert sdk.image_labels(unused) is None
            assert sdk.image_labels(used) is not None
    finally:
        container.remove()
        engine.images.remove(used)


def test_the_exported_profile_may_not_operate(client_container: DockerContainer) -> None:
    """The profile for inside holds no admin key."""
    said = client_container.get_wrapped_container().exec_run(["sh", "-c", "cat /tmp/dfs/profiles/*.toml"])
    assert b"client_key" in said.output
    assert b"admin_key" not in said.output


def test_the_image_has_every_program(image: str, engine: object) -> None:
    """One image for all roles, of one version."""
    assert engine is not None
    programs = ("dfs", "dfs-client", "dfs-master", "dfs-node")
    versions = set()
    with DockerContainer(image).with_command(["python", "-c", "import time; time.sleep(600)"]) as running:
        for program in programs:
            said = running.exec([program, "--version"])
            assert said.exit_code == 0, said.output
            versions.add(said.output.decode().split()[-1])
    assert len(versions) == 1
