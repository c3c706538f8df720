"""`dfs deploy --engine docker`: what a user gets, on real containers."""

import filecmp
import json
import os
import random
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.e2e.conftest import MakeCluster
from tests.support.docker_cluster import DockerCluster, is_ci

ROLES = ("master", "node-1", "node-2", "node-3")
USABLE_SECONDS = 15
#: A CI machine may be busy with others: there the figure is recorded, and only a gross failure stops anybody.
USABLE_SECONDS_CI = 60


def lines(text: str) -> list[dict[str, object]]:
    """JSON Lines."""
    return [json.loads(line) for line in text.splitlines()]


def ask_line_protocol(port: int, request: bytes) -> bytes:
    """One request of the line protocol, from this host."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
    return answer


def test_files_come_back_equal(shared_cluster: DockerCluster, tmp_path: Path) -> None:
    """A tree and a larger file go up, are listed with two copies each, and come back byte-equal."""
    tree = tmp_path / "tree"
    for number in range(20):
        path = tree / f"d{number % 3}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 1_000))
    (tree / "large").write_bytes(os.urandom(20 * 1024 * 1024))
    shared_cluster.dfs_client("upload", "-r", str(tree), "/equal/")
    listed = lines(shared_cluster.dfs_client("list", "-r", "-l", "--json", "/equal").stdout)
    files = [row for row in listed if row["kind"] == "file"]
    assert len(files) == 21
    copies = [row["copies"] for row in files if row["size"]]
    assert all(isinstance(each, list) and len(each) >= 2 for each in copies)
    shared_cluster.dfs_client("download", "-r", "/equal/tree", str(tmp_path / "back"))
    names = [str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()]
    assert filecmp.cmpfiles(tree, tmp_path / "back", names, shallow=False)[0] == names


def test_the_same_command_again_changes_nothing(shared_cluster: DockerCluster) -> None:
    """Not even one container is started anew, and nothing but the four runs."""
    before = {each.name: each.attrs["State"]["StartedAt"] for each in shared_cluster.containers()}
    answer = json.loads(shared_cluster.dfs("deploy", "--nodes", "3", "--json").stdout)
    assert answer["changed"] is False
    assert {each.name: each.attrs["State"]["StartedAt"] for each in shared_cluster.containers()} == before
    assert set(before) == {f"dfs-{shared_cluster.name}-{role}" for role in ROLES}


def test_the_database_is_inspected_while_the_cluster_runs(shared_cluster: DockerCluster, tmp_path: Path) -> None:
    """`dfs db show` prints it, and plain sqlite3 reads a backup."""
    (tmp_path / "f").write_text("inspected")
    shared_cluster.dfs_client("upload", str(tmp_path / "f"), "/inspected")
    shown = lines(shared_cluster.dfs("db", "show", "files", "--json").stdout)
    assert "/inspected" in [row["path"] for row in shown]
    assert shared_cluster.dfs("db", "check").returncode == 0
    backup = tmp_path / "backup.db"
    shared_cluster.dfs("db", "backup", str(backup))
    with closing(sqlite3.connect(backup)) as database:
        query = "SELECT count(DISTINCT node) FROM file_replicas WHERE path = '/inspected'"
        assert database.execute(query).fetchone() == (2,)
    assert shared_cluster.dfs("db", "backup", str(backup), check=False).returncode == 4


def test_logs_are_json_lines(shared_cluster: DockerCluster) -> None:
    """Every line that a role wrote is a record with a time."""
    records = lines(shared_cluster.dfs("logs", "--json").stdout)
    assert {record["role"] for record in records} == set(ROLES)
    assert all({"at", "level", "message"} <= record.keys() for record in records)


def test_the_line_protocol_is_answered_to_this_host(shared_cluster: DockerCluster) -> None:
    """Store, list and fetch without a key, through the published port."""
    port = shared_cluster.spec.master_port
    assert ask_line_protocol(port, b"UPLOAD by-line.txt 5\nhello") == b"OK 0\n"
    listed = ask_line_protocol(port, b"LIST\n").decode()
    (line,) = [each for each in listed.splitlines() if each.startswith("by-line.txt ")]
    outside = {f"127.0.0.1:{node.port}" for node in shared_cluster.spec.nodes}
    assert set(line.split()[1:]) <= outside, "addresses that nobody reaches from here"
    assert len(line.split()) == 3
    assert ask_line_protocol(port, b"DOWNLOAD by-line.txt\n") == b"OK 5\nhello"


def test_the_line_protocol_is_refused_to_other_containers(shared_cluster: DockerCluster) -> None:
    """A neighbour on the same network is not this host."""
    code = (
        "import socket,sys; s=socket.create_connection(('dfs-" + shared_cluster.name + "-master',5000),10);"
        "s.sendall(b'LIST\\n'); sys.stdout.write(s.recv(1000).decode())"
    )
    said = shared_cluster.container("node-1").exec_run(["python", "-c", code])
    assert said.output.startswith(b"ERROR not_allowed")


def test_the_health_check_tells_a_serving_role_from_none(shared_cluster: DockerCluster) -> None:
    """The probe of the image succeeds at the role's port, and nowhere else."""
    probe = ["/opt/dfs/bin/python", "-m", "dfs_wire.probe"]
    for role in ("master", "node-1"):
        container = shared_cluster.container(role)
        assert container.exec_run([*probe, "127.0.0.1:5000"]).exit_code == 0
        assert container.exec_run([*probe, "127.0.0.1:5999"]).exit_code == 1


def test_growing_uses_new_nodes_and_shrinking_loses_nothing(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """From three nodes to five: new data lands on the new ones; back to three, and every file is still there."""
    cluster = make_cluster("--nodes", "3")
    contents = {f"/f{number}": os.urandom(300_000) for number in range(24)}

    def store(paths: list[str]) -> None:
        with cluster.client() as dfs:
            for path in paths:
                (tmp_path / "source").write_bytes(contents[path])
                dfs.upload(tmp_path / "source", path)

    paths = list(contents)
    store(paths[:8])
    cluster.dfs("scale", "--nodes", "5")
    store(paths[8:])
    used = {str(node["name"]): node["used_bytes"] for node in _nodes(cluster)}
    assert {"node-4", "node-5"} <= used.keys()
    replicas = lines(cluster.dfs("db", "show", "replicas", "--json").stdout)
    assert {"node-4", "node-5"} <= {row["node"] for row in replicas}
    cluster.dfs("deploy", "--nodes", "3")
    assert [node["name"] for node in _nodes(cluster)] == ["node-1", "node-2", "node-3"]
    assert cluster.volumes() == sorted(cluster.volume(role) for role in ROLES)
    assert_stored(cluster, contents, tmp_path)


def _nodes(cluster: DockerCluster) -> list[dict[str, object]]:
    nodes = cluster.status()["nodes"]
    assert isinstance(nodes, list)
    return nodes


def assert_stored(cluster: DockerCluster, contents: dict[str, bytes], scratch: Path) -> None:
    """Every file is there with its bytes."""
    with cluster.client() as dfs:
        for path, content in contents.items():
            dfs.download(path, scratch / "back", force=True)
            assert (scratch / "back").read_bytes() == content, path


def test_with_the_image_there_a_cluster_is_usable_within_15_seconds(
    make_cluster: MakeCluster, record_property: Callable[[str, object], None]
) -> None:
    """The better of two tries: the machine may be busy with something else."""
    limit = USABLE_SECONDS_CI if is_ci() else USABLE_SECONDS
    seconds = []
    for _ in range(2):
        cluster = make_cluster(deploy=False)
        began = time.monotonic()
        cluster.deploy("--nodes", "3")
        seconds.append(time.monotonic() - began)
        cluster.close()
        if seconds[-1] < limit:
            break
    record_property("seconds_to_a_usable_cluster", round(min(seconds), 1))
    print(f"usable after {min(seconds):.1f} s")
    assert min(seconds) < limit


def test_destroy_keeps_the_volumes_and_deploy_brings_the_cluster_back(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    """Containers and network go and are made anew over the same volumes; with --delete-data nothing is left."""
    cluster = make_cluster("--nodes", "2")
    (tmp_path / "f").write_bytes(os.urandom(100_000))
    cluster.dfs_client("upload", str(tmp_path / "f"), "/kept")
    volumes = cluster.volumes()
    said = cluster.dfs("destroy").stdout
    assert cluster.volume("master") in said
    assert (cluster.containers(), cluster.volumes()) == ([], volumes)
    assert cluster.engine.networks.list(names=[cluster.network]) == []
    shown = lines(cluster.dfs("db", "show", "files", "--json").stdout)
    assert "/kept" in [row["path"] for row in shown]
    cluster.dfs("deploy")
    assert_stored(cluster, {"/kept": (tmp_path / "f").read_bytes()}, tmp_path)
    cluster.dfs("destroy", "--delete-data", "--yes")
    assert (cluster.containers(), cluster.volumes()) == ([], [])
    assert cluster.dfs("status", check=False).returncode == 3


def test_a_deploy_that_fails_leaves_nothing(make_cluster: MakeCluster, image: str) -> None:
    """Somebody else's container has a node's name: exit code 4, and only that container is left."""
    cluster = make_cluster(deploy=False)
    stranger = cluster.engine.containers.create(image, ["true"], name=f"dfs-{cluster.name}-node-2")
    try:
        # A port of one's own, far from where others look for theirs: their conflicts are not what this is about.
        port = str(random.randrange(10_000, 30_000, 20))
        done = cluster.dfs("deploy", "--engine", "docker", "--nodes", "2", "--port", port, check=False)
        assert done.returncode == 4
        assert f"dfs-{cluster.name}-node-2" in done.stderr
        assert (cluster.containers(), cluster.volumes()) == ([], [])
        assert cluster.engine.networks.list(names=[cluster.network]) == []
        assert cluster.dfs("list", "--json").stdout == ""
    finally:
        stranger.remove(force=True)


def test_a_node_that_cannot_start_shows_its_last_lines(make_cluster: MakeCluster) -> None:
    """A volume that holds other files is refused by the node itself; deploy says so, and the others serve on."""
    cluster = make_cluster("--nodes", "2")
    volume = cluster.volume("node-3")
    labels = {"dfs.cluster": cluster.name, "dfs.home": str(cluster.home), "dfs.role": "node-3"}
    cluster.engine.volumes.create(volume, labels=labels)
    code = "import os; os.mkdir('/data/volume'); open('/data/volume/holiday.jpg', 'w').close()"
    image = cluster.container("node-1").image
    assert image is not None
    cluster.engine.containers.run(
        image, ["python", "-c", code], remove=True, volumes={volume: {"bind": "/data", "mode": "rw"}}
    )
    done = cluster.dfs("deploy", "--nodes", "3", check=False)
    assert done.returncode == 1
    assert "holds other files" in done.stderr
    assert [node["name"] for node in _nodes(cluster)] == ["node-1", "node-2"]
    assert json.loads(cluster.dfs("deploy", "--json").stdout)["changed"] is False


def test_listening_everywhere_closes_the_line_protocol(make_cluster: MakeCluster) -> None:
    """Behind an open port nobody can tell this host from another, so keys are needed; deploy itself works."""
    everywhere = "0.0.0.0"  # noqa: S104 - of this machine, for a moment
    cluster = make_cluster("--nodes", "2", "--listen", everywhere, "--public-host", "127.0.0.1")
    assert ask_line_protocol(cluster.spec.master_port, b"LIST\n").startswith(b"ERROR not_allowed")
    assert "--allow-line-from" not in cluster.container("master").attrs["Config"]["Cmd"]
