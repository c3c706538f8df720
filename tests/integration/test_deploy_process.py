"""`dfs` with real processes: deploy, use, stop, kill, grow, destroy."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.deploy import pid_alive
from tests.support.deployed_cluster import clean_environment, run_program
from tests.support.polling import poll_for
from tests.support.process_cluster import ProcessCluster

from dfs_deploy.processes import ProcessTable

CONTENT = os.urandom(3_000_000)


def put(cluster: ProcessCluster, tmp_path: Path, path: str = "/a.bin") -> None:
    """Store the content."""
    source = tmp_path / "source.bin"
    source.write_bytes(CONTENT)
    with cluster.client() as dfs:
        dfs.upload(source, path)


def get(cluster: ProcessCluster, tmp_path: Path, path: str = "/a.bin") -> bytes:
    """Fetch it again."""
    target = tmp_path / "target.bin"
    with cluster.client() as dfs:
        dfs.download(path, target, force=True)
    return target.read_bytes()


def test_a_deployed_cluster_is_what_the_documents_say(shared_cluster: ProcessCluster) -> None:
    """Files, modes, command lines, the profile, the status object and the list."""
    spec, paths = shared_cluster.spec, shared_cluster.paths
    assert paths.root == shared_cluster.home / "clusters" / "shared"
    for file in (paths.database, paths.volume("node-1") / "identity", paths.log("master"), paths.log("node-3")):
        assert file.exists()
    profile_file = shared_cluster.home / "profiles" / "shared.toml"
    for secret in (profile_file, paths.credentials, paths.join_token, paths.master_data / "master.key"):
        assert secret.stat().st_mode & 0o777 == 0o600, secret
    assert shared_cluster.profile.master == spec.master_address
    assert all(node.id is not None for node in spec.nodes)

    status = shared_cluster.status()
    assert {key: status[key] for key in ("files", "under_replicated", "unreadable")} == {
        "files": 0,
        "under_replicated": 0,
        "unreadable": 0,
    }
    master, nodes = status["master"], status["nodes"]
    assert isinstance(master, dict)
    assert isinstance(nodes, list)
    assert master["address"] == spec.master_address
    assert isinstance(master["epoch"], int)
    assert [node["name"] for node in nodes] == ["node-1", "node-2", "node-3"]
    assert {node["state"] for node in nodes} == {"live"}
    sizes, times = {"capacity_bytes", "used_bytes"}, {"last_seen_at", "scrubbed_at", "scrub_percent"}
    assert set(nodes[0]) == {"id", "name", "address", "state"} | sizes | times

    listed = [json.loads(line) for line in shared_cluster.dfs("list", "--json").stdout.splitlines()]
    assert [(row["name"], row["engine"], row["nodes"], row["state"], row["master"]) for row in listed] == [
        ("shared", "process", 3, "running", spec.master_address)
    ]
    assert shared_cluster.dfs("list").stdout.splitlines()[1].split()[0] == "shared"


def test_one_process_a_role_in_its_own_session_without_secrets(shared_cluster: ProcessCluster) -> None:
    """No wrapper, no terminal, input from /dev/null; `ps` shows the directory and no key."""
    pids = shared_cluster.pids
    assert set(pids) == {"master", "node-1", "node-2", "node-3"}
    profile = shared_cluster.profile
    token = shared_cluster.paths.join_token.read_text().strip()
    for role, pid in pids.items():
        assert os.getsid(pid) == pid
        assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        assert str(shared_cluster.paths.root) in line, role
        assert profile.client_key not in line
        assert str(profile.admin_key) not in line
        assert token not in line


def test_deploying_again_changes_nothing(shared_cluster: ProcessCluster) -> None:
    """The same processes, and the answer says so."""
    before = shared_cluster.pids
    answer = json.loads(shared_cluster.dfs("deploy", "--nodes", "3", "--json").stdout)
    assert answer["changed"] is False
    assert shared_cluster.pids == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("deploy", "--nodes", "1"), 2),
        (("deploy", "--engine", "docker"), 2),
        (("deploy", "--name", "Bad_Name"), 2),
        (("deploy", "--engine", "process", "--name", "other", "--nodes", "1"), 2),
        (("start", "--name", "nope"), 3),
        (("status", "--name", "nope"), 3),
        (("logs", "node-9"), 3),
        (("destroy", "--delete-data"), 2),
        (("scale", "--nodes", "1"), 2),
        (("node", "remove", "node-9"), 3),
        (("frobnicate",), 2),
    ],
)
def test_what_cannot_be_is_one_sentence_and_the_right_code(
    shared_cluster: ProcessCluster, arguments: tuple[str, ...], code: int
) -> None:
    """On standard error, without a traceback, and nothing changes."""
    before = shared_cluster.pids
    done = shared_cluster.dfs(*arguments, check=False)
    assert done.returncode == code
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("dfs: ")
    assert shared_cluster.pids == before


def test_an_error_with_json_is_an_object_too(shared_cluster: ProcessCluster) -> None:
    """Behind the sentence, on standard error."""
    done = shared_cluster.dfs("start", "--name", "nope", "--json", check=False)
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "not_found"


def test_logs_come_from_every_role_and_can_be_followed(shared_cluster: ProcessCluster) -> None:
    """As text with the role in front, as JSON Lines, and without end until Ctrl-C."""
    assert {line.split()[0] for line in shared_cluster.dfs("logs").stdout.splitlines()} >= {"master", "node-1"}
    records = [json.loads(line) for line in shared_cluster.dfs("logs", "node-2", "--json").stdout.splitlines()]
    assert {record["role"] for record in records} == {"node-2"}
    command = [sys.executable, "-m", "dfs_deploy.cli", "logs", "-f", "master", "--lines", "1"]
    with subprocess.Popen(command, env=shared_cluster.env, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline().strip()
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 130


def test_the_database_is_shown_with_the_master_running(shared_cluster: ProcessCluster, tmp_path: Path) -> None:
    """`dfs db` works where the database lies, and hands the exit code on."""
    shown = shared_cluster.dfs("db", "show", "nodes", "--json").stdout.splitlines()
    assert len(shown) == 3
    shared_cluster.dfs("db", "check")
    shared_cluster.dfs("db", "backup", str(tmp_path / "copy.db"))
    assert (tmp_path / "copy.db").read_bytes().startswith(b"SQLite format 3")
    assert shared_cluster.dfs("db", "backup", str(tmp_path / "no" / "copy.db"), check=False).returncode != 0


def test_an_exported_profile_serves_a_second_home_and_operates_nothing(
    shared_cluster: ProcessCluster, tmp_path: Path
) -> None:
    """The client key is in it and the admin key is not."""
    exported = shared_cluster.dfs("profile", "export").stdout
    assert shared_cluster.profile.client_key in exported
    assert str(shared_cluster.profile.admin_key) not in exported
    (tmp_path / "shared.toml").write_text(exported)
    env = clean_environment(tmp_path / "second-home")
    run_program("dfs_deploy.cli", "profile", "import", str(tmp_path / "shared.toml"), env=env)
    run_program("dfs_client.cli", "list", env=env)
    assert run_program("dfs_deploy.cli", "status", env=env, check=False).returncode == 6
    again = run_program("dfs_deploy.cli", "profile", "import", str(tmp_path / "shared.toml"), env=env, check=False)
    assert again.returncode == 4


def test_a_reader_of_deploys_pipes_sees_them_end(tmp_path: Path) -> None:
    """No daemon holds a pipe of its deployer open: `dfs deploy | cat` ends."""
    env = clean_environment(tmp_path / "home")
    reader, writer = os.pipe()
    command = [
        sys.executable,
        "-m",
        "dfs_deploy.cli",
        "deploy",
        "--engine",
        "process",
        "--name",
        "pipes",
        "--nodes",
        "2",
        "--json",
    ]
    try:
        with subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[writer]
        ) as run:
            os.close(writer)
            run.communicate(timeout=120)
            assert run.returncode == 0
        os.set_blocking(reader, False)
        assert os.read(reader, 1) == b"", "somebody still holds the extra pipe"
    finally:
        os.close(reader)
        run_program("dfs_deploy.cli", "destroy", "--name", "pipes", "--delete-data", "--yes", env=env)


def test_stop_and_start_keep_every_file(cluster: ProcessCluster, tmp_path: Path) -> None:
    """Stopped, nothing answers (exit code 5); started, everything is there."""
    put(cluster, tmp_path)
    ports = cluster.spec.ports
    cluster.stop()
    assert cluster.pids == {}
    stopped = cluster.dfs("status", "--json", check=False)
    assert stopped.returncode == 5
    assert json.loads(stopped.stdout)["master"]["state"] == "unreachable"
    assert json.loads(cluster.dfs("list", "--json").stdout)["state"] == "stopped"
    cluster.start()
    assert cluster.spec.ports == ports
    assert get(cluster, tmp_path) == CONTENT


def test_deploy_starts_killed_processes_over_their_data(cluster: ProcessCluster, tmp_path: Path) -> None:
    """Kill -9 of everything at once: dead they stay, until deploy starts them; then every file is back."""
    put(cluster, tmp_path)
    for pid in cluster.pids.values():
        os.kill(pid, signal.SIGKILL)
    poll_for("the end of all roles", lambda: not cluster.pids, seconds=10)
    answer = json.loads(cluster.dfs("deploy", "--json").stdout)
    assert answer["changed"] is True
    assert len(cluster.pids) == 4
    assert get(cluster, tmp_path) == CONTENT


def test_a_dead_node_is_started_alone(cluster: ProcessCluster, tmp_path: Path) -> None:
    """The others keep their processes."""
    put(cluster, tmp_path)
    before = cluster.pids
    cluster.kill("node-2")
    assert json.loads(cluster.dfs("list", "--json").stdout)["state"] == "partial"
    cluster.start()
    after = cluster.pids
    assert after.pop("node-2") != before.pop("node-2")
    assert after == before
    assert get(cluster, tmp_path) == CONTENT


def test_a_cluster_grows_while_it_serves(cluster: ProcessCluster, tmp_path: Path) -> None:
    """The new nodes are live, the old ones never stopped."""
    put(cluster, tmp_path)
    before = cluster.pids
    cluster.dfs("scale", "--nodes", "5")
    assert before.items() <= cluster.pids.items()
    listed = [json.loads(line) for line in cluster.dfs("node", "list", "--json").stdout.splitlines()]
    assert [(node["name"], node["state"]) for node in listed] == [(f"node-{n}", "live") for n in range(1, 6)]
    assert get(cluster, tmp_path) == CONTENT


def test_nodes_that_go_are_drained_first(cluster: ProcessCluster, tmp_path: Path) -> None:
    """From five nodes to three under their files: each is there, twice, and the volumes that went are gone."""
    cluster.dfs("scale", "--nodes", "5")
    with cluster.client() as dfs:
        for number in range(40):
            dfs.upload(io.BytesIO(bytes([number]) * 100_000), f"/many/{number}")
        used = {copy.node for entry in dfs.list("/many", copies=True) for copy in entry.copies}
        assert used == {f"node-{number}" for number in range(1, 6)}
    cluster.dfs("deploy", "--nodes", "3")
    assert sorted(cluster.pids) == ["master", "node-1", "node-2", "node-3"]
    assert not cluster.paths.volume("node-4").exists()
    with cluster.client() as dfs:
        for number in range(40):
            with dfs.open(f"/many/{number}", "rb") as file:
                assert file.read() == bytes([number]) * 100_000
        entries = list(dfs.list("/many", copies=True))
    assert all({copy.node for copy in entry.copies} <= {"node-1", "node-2", "node-3"} for entry in entries)
    assert all(len(entry.copies) == 2 for entry in entries)


def test_a_growth_that_fails_leaves_the_cluster_serving(cluster: ProcessCluster, tmp_path: Path) -> None:
    """A node that cannot start is taken back; nothing else is touched, least of all what was there before."""
    put(cluster, tmp_path)
    before, spec = cluster.pids, cluster.spec
    # A file lies where the volume's directory must be made.
    (cluster.paths.root / "node-4").mkdir()
    cluster.paths.volume("node-4").write_text("in the way")
    done = cluster.dfs("deploy", "--nodes", "4", check=False)
    assert done.returncode != 0
    assert "node-4" in done.stderr
    assert (cluster.pids, cluster.spec) == (before, spec)
    assert get(cluster, tmp_path) == CONTENT
    assert cluster.paths.volume("node-4").read_text() == "in the way"
    cluster.paths.volume("node-4").unlink()
    cluster.dfs("deploy", "--nodes", "4")
    assert len(cluster.pids) == 5


def test_destroy_keeps_the_data_until_told_otherwise(cluster: ProcessCluster, tmp_path: Path) -> None:
    """Deployed again it is the same cluster; with --delete-data nothing is left."""
    put(cluster, tmp_path)
    pids = cluster.pids
    told = cluster.dfs("destroy").stdout
    assert str(cluster.paths.root) in told
    assert not any(pid_alive(pid) for pid in pids.values())
    assert not (cluster.home / "profiles" / "test.toml").exists()
    cluster.dfs("deploy")
    assert get(cluster, tmp_path) == CONTENT
    cluster.dfs("destroy", "--delete-data", "--yes")
    assert not cluster.paths.root.exists()
    assert cluster.dfs("list").stdout.splitlines()[1:] == []


def test_destroy_by_another_spelling_ends_all_and_empties_a_linked_volume(
    cluster: ProcessCluster, tmp_path: Path
) -> None:
    """The home through a link, and a volume on another disk: no daemon and no data are left."""
    cluster.stop()
    volume = cluster.paths.volume("node-2")
    volume.rename(tmp_path / "disk")
    volume.symlink_to(tmp_path / "disk")
    cluster.start()
    put(cluster, tmp_path)
    pids = cluster.pids
    (tmp_path / "link").symlink_to(cluster.home)
    cluster.env["DFS_HOME"] = str(tmp_path / "link")
    assert json.loads(cluster.dfs("list", "--json").stdout)["state"] == "running"
    told = cluster.dfs("destroy", "--delete-data", "--yes").stderr
    assert f"The directory {tmp_path / 'disk'} stays, and is empty" in told
    assert list((tmp_path / "disk").iterdir()) == []
    assert not any(pid_alive(pid) for pid in pids.values())
    assert not cluster.paths.root.exists()


def test_two_clusters_live_side_by_side(cluster: ProcessCluster, tmp_path: Path) -> None:
    """Each has its ports, files and keys; ending one leaves the other."""
    put(cluster, tmp_path)
    with closing(ProcessCluster(cluster.home, "second", "--nodes", "2")) as second:
        assert not second.spec.ports & cluster.spec.ports
        with second.client() as dfs:
            assert list(dfs.list("/")) == []
        taken = second.dfs(
            "deploy", "--engine", "process", "--name", "third", "--port", str(cluster.spec.master_port), check=False
        )
        assert taken.returncode == 4
        assert "'test'" in taken.stderr
        wrong_key = clean_environment(cluster.home) | {
            "DFS_MASTER": second.spec.master_address,
            "DFS_KEY": cluster.profile.client_key,
        }
        assert run_program("dfs_client.cli", "list", env=wrong_key, check=False).returncode == 6
    assert get(cluster, tmp_path) == CONTENT


def test_a_taken_port_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    """The error names the port; no directory, no profile, no process stays."""
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run_program(
            "dfs_deploy.cli",
            "deploy",
            "--engine",
            "process",
            "--name",
            "a",
            "--port",
            str(port),
            env=clean_environment(home),
            check=False,
        )
    assert done.returncode == 4
    assert str(port) in done.stderr
    assert not (home / "clusters" / "a").exists()
    assert not (home / "profiles").exists()


def test_a_deploy_that_cannot_succeed_removes_what_it_made(tmp_path: Path) -> None:
    """A program that does not start: exit code 5 with its words, and nothing of the cluster is left."""
    home = tmp_path / "home"
    env = clean_environment(home)
    # The daemon reads this; it is no level, so every node refuses to start.
    done = run_program(
        "dfs_deploy.cli",
        "deploy",
        "--engine",
        "process",
        "--name",
        "a",
        "--nodes",
        "2",
        env=env | {"DFS_NODE_LOG_LEVEL": "NONSENSE"},
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "NONSENSE" in done.stderr
    assert not (home / "clusters" / "a").exists()
    assert not (home / "profiles" / "a.toml").exists()
    assert daemons_of(home) == []


def test_ctrl_c_of_a_deploy_leaves_nothing(tmp_path: Path) -> None:
    """Interrupted while nodes start: exit code 130, and all is taken back."""
    home = tmp_path / "home"
    command = [sys.executable, "-m", "dfs_deploy.cli", "deploy", "--engine", "process", "--name", "a", "--nodes", "2"]
    with subprocess.Popen(command, env=clean_environment(home), stderr=subprocess.PIPE, text=True) as deploy:
        assert deploy.stderr is not None
        for line in deploy.stderr:
            if "starting node-1" in line:
                break
        deploy.send_signal(signal.SIGINT)
        deploy.stderr.read()
        assert deploy.wait(60) == 130
    assert not (home / "clusters" / "a").exists()
    assert daemons_of(home) == []


@pytest.mark.parametrize("moment", ["making", "starting the master", "starting node-2", "waiting", "uploading"])
def test_a_deploy_that_was_killed_is_finished_by_the_next(tmp_path: Path, moment: str) -> None:
    """Kill -9 of the deployer at any step: nothing is started twice, and the cluster works in the end."""
    env = clean_environment(tmp_path / "home")
    command = [sys.executable, "-m", "dfs_deploy.cli", "deploy", "--engine", "process", "--name", "a", "--nodes", "2"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as deploy:
        assert deploy.stderr is not None
        for line in deploy.stderr:
            if moment in line:
                break
        deploy.kill()
    try:
        run_program("dfs_deploy.cli", "deploy", "--engine", "process", "--name", "a", env=env)
        status = json.loads(run_program("dfs_deploy.cli", "status", "--json", env=env).stdout)
        assert [node["state"] for node in status["nodes"]] == ["live", "live"]
        assert len(daemons_of(tmp_path / "home")) == 3
    finally:
        run_program("dfs_deploy.cli", "destroy", "--name", "a", "--delete-data", "--yes", env=env)


def test_two_deploys_at_once_make_one_cluster(tmp_path: Path) -> None:
    """The second waits for the first, and then finds nothing left to do."""
    env = clean_environment(tmp_path / "home")
    command = [
        sys.executable,
        "-m",
        "dfs_deploy.cli",
        "deploy",
        "--engine",
        "process",
        "--name",
        "a",
        "--nodes",
        "2",
        "--json",
    ]
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        answers = [json.loads(one.communicate(timeout=150)[0]) for one in both]
        assert [one.returncode for one in both] == [0, 0]
        assert sorted(answer["changed"] for answer in answers) == [False, True]
    finally:
        run_program("dfs_deploy.cli", "destroy", "--name", "a", "--delete-data", "--yes", env=env)


def daemons_of(home: Path) -> list[int]:
    """The pids of all daemons whose command line names a directory below `home`."""
    found = []
    for process in ProcessTable().all():
        if "--listen" in process.arguments and any(argument.startswith(str(home)) for argument in process.arguments):
            found.append(process.pid)
    return found


def test_a_listing_loads_only_what_it_needs(shared_cluster: ProcessCluster) -> None:
    """A whole `dfs-client list`, answered by a real master: each of these would cost a good part of its time."""
    heavy = ("asyncio", "blake3", "concurrent.futures", "crc32c", "encodings.idna", "hashlib", "importlib.metadata")
    heavy += ("json", "logging", "rich", "ssl")
    code = (
        "import sys\n"
        "from dfs_client.program import run_program\n"
        "print(run_program(['list']), *sorted(set(sys.argv[1:]) & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *heavy], env=shared_cluster.env, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "0"
