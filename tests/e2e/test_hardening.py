"""Containers give away nothing and are given nothing that they do not need."""

import json
import os
import selectors
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import docker
from docker.models.containers import Container
from tests.e2e.conftest import Planted
from tests.support.docker_cluster import DockerCluster

from dfs_deploy.containers import INSIDE_PORT
from dfs_deploy.image.builder import DIGEST_LABEL

MIB = 1024 * 1024
#: Stands in a layer of the image: who does not find this has not looked.
OF_THE_IMAGE = "The one image of all roles: made from the installed packages"
#: Ports under way at once in a scan.
SCAN_WIDTH = 400


def test_every_container_is_hardened(shared_cluster: DockerCluster) -> None:
    """User, file system, capabilities, privileges, limits, restart, logs: as an inspection shows them."""
    assert len(shared_cluster.containers()) == 4
    for container in shared_cluster.containers():
        host, config = container.attrs["HostConfig"], container.attrs["Config"]
        assert config["User"] == "10001:10001"
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert host["Privileged"] is False
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert 0 < host["PidsLimit"] <= 4096
        assert 0 < host["Memory"] <= 2048 * MIB
        assert host["MemorySwap"] == host["Memory"]
        assert "size=64m" in host["Tmpfs"]["/tmp"]
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}}
        assert not any("docker.sock" in mount.get("Source", "") for mount in container.attrs["Mounts"])
        assert [mount["Destination"] for mount in container.attrs["Mounts"]] == ["/data"]
        assert config["Healthcheck"]["Interval"] == 30 * 10**9


def test_inside_no_privilege_is_left(shared_cluster: DockerCluster) -> None:
    """The kernel's own word, and a root file system that takes no file."""
    container = shared_cluster.container("node-1")
    status = container.exec_run(["cat", "/proc/1/status"]).output.decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["10001"] * 4
    assert {fields[name].strip("0\t ") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    assert fields["NoNewPrivs"].strip() == "1"
    assert container.exec_run(["touch", "/opt/dfs/x"]).exit_code != 0
    modes = container.exec_run(["stat", "-c", "%a %u", "/data/join-token", "/data/volume/identity"]).output.decode()
    assert modes.split() == ["600", "10001"] * 2


def test_the_image_is_small_and_labelled(shared_cluster: DockerCluster) -> None:
    """Under 250 MB over its base; it says what it is."""
    image = shared_cluster.container("master").image
    assert image is not None
    base = shared_cluster.engine.images.get(image.labels["org.opencontainers.image.base.name"])
    assert image.attrs["Size"] - base.attrs["Size"] < 250 * 10**6
    assert image.labels["org.opencontainers.image.title"] == "dfs"
    assert image.labels["org.opencontainers.image.version"]
    assert len(image.labels[DIGEST_LABEL]) == 64
    assert image.attrs["Config"]["User"] == "10001:10001"


def test_only_published_ports_are_open(shared_cluster: DockerCluster) -> None:
    """On this host one port a role, on loopback; in every container nothing but that role's port."""
    published = set()
    for container in shared_cluster.containers():
        for bindings in container.attrs["NetworkSettings"]["Ports"].values():
            published |= {(each["HostIp"], int(each["HostPort"])) for each in bindings or ()}
    assert published == {("127.0.0.1", port) for port in shared_cluster.spec.ports}
    for role in ("master", "node-1"):
        assert open_ports(address_of(shared_cluster.container(role), shared_cluster.network)) == {INSIDE_PORT}


def address_of(container: Container, network: str) -> str:
    """Where this host reaches a container directly."""
    return str(container.attrs["NetworkSettings"]["Networks"][network]["IPAddress"])


def open_ports(host: str) -> set[int]:
    """Every TCP port that takes a connection. The host is a container of this test on this machine."""
    found: set[int] = set()
    ports = iter(range(1, 65_536))
    with selectors.DefaultSelector() as waiting:
        while True:
            _begin(waiting, host, ports)
            if not waiting.get_map():
                return found
            for key, _ in waiting.select(5):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.add(int(key.data))
                waiting.unregister(connection)
                connection.close()


def _begin(waiting: selectors.DefaultSelector, host: str, ports: Iterator[int]) -> None:
    while len(waiting.get_map()) < SCAN_WIDTH:
        port = next(ports, None)
        if port is None:
            return
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex((host, port))
        waiting.register(connection, selectors.EVENT_WRITE, port)


def test_secrets_stand_nowhere(shared_cluster: DockerCluster, planted: Planted, tmp_path: Path) -> None:
    """The cluster's keys, and what was planted around the deploy, are looked for in logs, arguments, environments,
    labels, networks, volumes, the image, and every layer of one that was built among them.
    """
    (tmp_path / "f").write_text("x")
    shared_cluster.dfs_client("upload", str(tmp_path / "f"), "/secrets-test")
    credentials = shared_cluster.credentials
    keys = [credentials.client_key, credentials.admin_key, credentials.join_token]
    assert all(len(key) == 64 for key in keys)
    secrets = [*keys, planted.secret]
    assert planted.secret in shared_cluster.env["HTTPS_PROXY"]
    base = shared_cluster.container("master").image.labels["org.opencontainers.image.base.name"]
    built = shared_cluster.dfs("image", "build", "--base", base).stdout.strip()
    places: dict[str, str] = {}
    for container in shared_cluster.containers():
        places[f"inspection of {container.name}"] = json.dumps(container.attrs)
        places[f"log of {container.name}"] = container.logs().decode("utf-8", "replace")
        places |= processes_of(container)
    image = shared_cluster.container("master").image
    assert image is not None
    places["image"] = json.dumps(image.attrs)
    places["history of the image"] = json.dumps(image.history())
    places["volumes"] = json.dumps([each.attrs for each in shared_cluster.engine.volumes.list()])
    places["networks"] = json.dumps([each.attrs for each in shared_cluster.engine.networks.list()])
    environs = [text for place, text in places.items() if place.startswith("environ")]
    assert os.geteuid() != 0 or any("DFS_HOME" in text for text in environs), "nothing was seen"
    for secret in secrets:
        for place, text in places.items():
            assert secret not in text, f"a secret stands in the {place}"
    sought = [secret.encode() for secret in (*secrets, OF_THE_IMAGE)]
    assert found_in(shared_cluster.engine.images.get(built).save(), sought) == {OF_THE_IMAGE.encode()}


def found_in(pieces: Iterable[bytes], sought: Sequence[bytes]) -> set[bytes]:
    """Which of some strings stand in a stream, also over the joints of its pieces."""
    found: set[bytes] = set()
    overlap = max(len(each) for each in sought) - 1
    before = b""
    for piece in pieces:
        window = before + piece
        found |= {each for each in sought if each in window}
        before = window[-overlap:]
    return found


def processes_of(container: Container) -> dict[str, str]:
    """Arguments and environment of a container's processes, as this host's root sees them."""
    found = {}
    for row in container.top(ps_args="-eo pid")["Processes"]:
        for part in ("cmdline", "environ"):
            path = Path("/proc", str(row[0]).strip(), part)
            try:
                found[f"{part} in {container.name}"] = path.read_bytes().decode("utf-8", "replace")
            except OSError:  # the engine runs on another machine, or we are not root
                continue
    return found


def test_no_image_layer_holds_a_file_of_this_user(image: str, engine: docker.DockerClient) -> None:
    """What went into the image is what was installed: no state, no profile, no key file."""
    names = [
        "(",
        "-name",
        "*.toml",
        "-o",
        "-name",
        "*.key",
        "-o",
        "-name",
        "credentials*",
        "-o",
        "-name",
        "join-token",
        ")",
    ]
    listed = engine.containers.run(image, ["find", "/", "-xdev", *names], remove=True, user="0").decode().split()
    ours = [path for path in listed if path.startswith(("/opt/dfs/", "/data", "/root", "/home"))]
    assert [path for path in ours if "site-packages" not in path] == []
