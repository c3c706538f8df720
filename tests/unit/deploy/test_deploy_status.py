"""`dfs status`, `dfs node list` and the health questions of deploy, over a client that answers as told."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.deploy import CREDENTIALS, Bench, make_spec

from dfs_client.exit_codes import run
from dfs_client.output import Output
from dfs_client.profile import Profile, write_profile
from dfs_client.types import ClusterStatus
from dfs_deploy.client_health import ClientHealth
from dfs_deploy.plan import DeployRequest
from dfs_deploy.program import cli
from dfs_deploy.reports import damaged_sentence, safety_lines, safety_object
from dfs_deploy.session import PROGRAM, Session
from dfs_wire.errors import BadCredentialError, ConnectFailedError, CorruptError, DfsError, NotAllowedError
from dfs_wire.messages import DrainProgressReply, NodeInfo, RepairStatusReply, StatusReply


def node(number: int, *, state: str = "live", seen_ms: int = 1_700_000_000_000) -> NodeInfo:
    """A node as the master tells of it."""
    address = f"127.0.0.1:{5000 + number}"
    return NodeInfo(number, f"node-{number}", address, address, "", state, 1_000, 10, seen_ms, 1)


class FakeDfs:
    """Answers as told; keeps one file in memory."""

    def __init__(self, *, unreadable: int = 0, under_replicated: int = 0, error: DfsError | None = None) -> None:
        self.reply = StatusReply(
            cluster_id="c1",
            state="serving",
            epoch=4,
            software="dfs",
            files=7,
            bytes=2_048,
            under_replicated=under_replicated,
            unreadable=unreadable,
            copies=2,
        )
        self.error = error
        self.repair = RepairStatusReply(state="idle")
        #: What the operator said, in order.
        self.said: list[str] = []
        self.files: dict[str, bytes] = {}
        self.damage = b""

    def __enter__(self) -> "FakeDfs":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def status(self) -> ClusterStatus:
        """The cluster, or the error."""
        if self.error is not None:
            raise self.error
        return ClusterStatus(self.reply, [node(10), node(2, state="dead", seen_ms=0), node(1)])

    @property
    def admin(self) -> "FakeDfs":
        """The operator's part."""
        return self

    def repair_status(self) -> RepairStatusReply:
        """As told."""
        return self.repair

    def force_repair(self) -> list[str]:
        """Two nodes vanished."""
        self.said.append("force")
        return ["node-1", "node-2"]

    def pause_rebalance(self, *, paused: bool) -> None:
        """Noted."""
        self.said.append(f"pause {paused}")

    def set_maintenance(self, node_id: int, *, off: bool, seconds: int) -> int:
        """Noted; until a fixed time."""
        self.said.append(f"maintenance {node_id} {off} {seconds}")
        return 0 if off else 1_700_000_000_000

    def drain_progress(self, _node_id: int) -> DrainProgressReply:
        """One chunk is nowhere else."""
        return DrainProgressReply(state="live", chunks_left=4, bytes_left=9, only_here=1, files=["/a"])

    def upload(self, source, path: str) -> None:  # noqa: ANN001
        """Keep it."""
        self.files[path] = source.read()

    def download(self, path: str, target) -> None:  # noqa: ANN001
        """Give it back, damaged if so told."""
        target.write(self.files[path] + self.damage)

    def exists(self, path: str) -> bool:
        """Whether it was uploaded."""
        return path in self.files

    def remove(self, path: str) -> None:
        """Forget it."""
        del self.files[path]

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def dfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a command on a deployed cluster `demo` whose client is the one given; its exit code."""
    bench = Bench(tmp_path)
    bench.operator.deploy(DeployRequest(name="demo"))

    def command(fake: FakeDfs, *arguments: str) -> int:
        monkeypatch.setattr("dfs_deploy.status.connect_as_operator", lambda *_: fake)
        monkeypatch.setattr("dfs_deploy.status.connect", lambda *_: fake)
        session = Session(Output(program=PROGRAM), environ={"DFS_HOME": str(tmp_path)})
        session.__dict__["store"] = bench.store
        return run(cli, list(arguments), PROGRAM, session.output, session)

    return command


def test_the_status_object(dfs: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """All documented fields; nodes in the order of their numbers; never seen is null."""
    assert dfs(FakeDfs(under_replicated=3), "status", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    nodes = found.pop("nodes")
    assert found == {
        "name": "demo",
        "master": {"address": "127.0.0.1:5000", "state": "serving", "epoch": 4, "notice": None},
        "files": 7,
        "bytes": 2_048,
        "copies": 2,
        "under_replicated": 3,
        "unreadable": 0,
        "repair": {
            "state": "idle",
            "reasons": [],
            "chunks_left": 0,
            "bytes_left": 0,
            "bytes_per_second": 0,
            "seconds_left": None,
            "under_way": 0,
            "counting": False,
        },
    }
    assert [one["name"] for one in nodes] == ["node-1", "node-2", "node-10"]
    assert nodes[0] == {
        "id": 1,
        "name": "node-1",
        "address": "127.0.0.1:5001",
        "state": "live",
        "capacity_bytes": 1_000,
        "used_bytes": 10,
        "last_seen_at": "2023-11-14T22:13:20.000000Z",
        "scrubbed_at": None,
        "scrub_percent": None,
    }
    assert nodes[1]["last_seen_at"] is None


@pytest.mark.parametrize(
    ("fake", "code", "words"),
    [
        (FakeDfs(), 0, "all files have all their copies"),
        (FakeDfs(under_replicated=3), 0, "3 chunks have too few copies"),
        (FakeDfs(unreadable=2), 5, "2 files cannot be read"),
    ],
)
def test_health_in_words(
    dfs: Callable[..., int], capsys: pytest.CaptureFixture[str], fake: FakeDfs, code: int, words: str
) -> None:
    """Unreadable files are exit code 5."""
    assert dfs(fake, "status") == code
    shown = capsys.readouterr().out
    assert words in shown
    assert "node-10" in shown


def test_a_master_that_does_not_answer(dfs: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 5, the object with null for what nobody knows, and how to start it."""
    silent = FakeDfs(error=ConnectFailedError("nobody there"))
    assert dfs(silent, "status", "--json") == 5
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["master"] == {"address": "127.0.0.1:5000", "state": "unreachable", "epoch": None, "notice": None}
    assert found["nodes"] == []
    assert found["files"] is None
    assert "dfs start --name demo" in shown.err
    assert dfs(silent, "status") == 5
    assert "unreachable" in capsys.readouterr().out
    assert dfs(silent, "node", "list") == 5


def test_a_destroyed_cluster_is_brought_back_by_deploy(
    dfs: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`dfs start` refuses it, so it is not named."""
    store = Bench(tmp_path).store
    spec = store.find("demo")
    assert spec is not None
    store.save(replace(spec, destroyed=True))
    assert dfs(FakeDfs(error=ConnectFailedError("nobody there")), "status") == 5
    assert capsys.readouterr().err == (
        "dfs: Cluster 'demo' was destroyed; `dfs deploy --name demo` brings it back over its data.\n"
    )


def test_nodes_as_a_list(dfs: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """One object or line a node."""
    assert dfs(FakeDfs(), "node", "list", "--json") == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [1, 2, 10]
    assert dfs(FakeDfs(), "node", "list") == 0
    assert capsys.readouterr().out.splitlines()[2].split("\t")[::6] == ["node-2", "never"]


def test_a_cluster_known_by_its_profile_only(
    dfs: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs elsewhere; its own error is shown, and no advice to start it here."""
    write_profile(Profile("far", "far.example:5000", "c2", "aa"), home=tmp_path)
    assert dfs(FakeDfs(), "status", "--name", "far", "--json") == 0
    assert json.loads(capsys.readouterr().out)["master"]["address"] == "far.example:5000"
    assert dfs(FakeDfs(error=ConnectFailedError("nobody there")), "status", "--name", "far") == 5
    assert "dfs start" not in capsys.readouterr().err
    assert dfs(FakeDfs(error=NotAllowedError("this needs the admin key")), "status", "--name", "far") == 6


# -- what deploy asks -------------------------------------------------------------------------------------------


@pytest.fixture
def health(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeDfs], ClientHealth]:
    """The health questions, over a client."""

    def over(fake: FakeDfs) -> ClientHealth:
        monkeypatch.setattr("dfs_deploy.client_health.connect_as_operator", lambda *_: fake)
        return ClientHealth()

    return over


def test_only_our_own_master_is_an_answer(health: Callable[[FakeDfs], ClientHealth]) -> None:
    """Silence and a stranger on our port both mean: not yet."""
    assert health(FakeDfs()).master_answers(make_spec(), CREDENTIALS)
    for error in (ConnectFailedError("silence"), BadCredentialError("a stranger")):
        asked = health(FakeDfs(error=error))
        assert not asked.master_answers(make_spec(), CREDENTIALS)
        assert asked.live_nodes(make_spec(), CREDENTIALS, 0) == {}


def test_a_node_that_is_only_remembered_is_not_live(health: Callable[[FakeDfs], ClientHealth]) -> None:
    """It must have been heard of since its process was started."""
    asked = health(FakeDfs())
    assert asked.live_nodes(make_spec(), CREDENTIALS, 1_700_000_000_000) == {"node-1": 1, "node-10": 10}
    assert asked.live_nodes(make_spec(), CREDENTIALS, 1_700_000_000_001) == {}


def test_the_self_test_leaves_nothing_and_sees_other_bytes(health: Callable[[FakeDfs], ClientHealth]) -> None:
    """Whether it succeeds or fails."""
    fake = FakeDfs()
    health(fake).self_test(make_spec(), CREDENTIALS)
    assert fake.files == {}
    fake.damage = b"!"
    with pytest.raises(CorruptError):
        health(fake).self_test(make_spec(), CREDENTIALS)
    assert fake.files == {}


def test_repair_is_told(dfs: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """What is left, how fast, and what it waits for; nothing of it while all is well."""
    fake = FakeDfs(under_replicated=3)
    assert dfs(fake, "status") == 0
    assert "repair:" not in capsys.readouterr().out
    fake.repair = RepairStatusReply(
        state="working",
        reasons=["node-2 is silent; if it is not back in 90 s, its copies are made anew"],
        chunks_left=3,
        bytes_left=3 << 20,
        bytes_per_second=1 << 20,
        seconds_left=3,
        under_way=2,
        rebalance="paused",
        rebalance_bytes_left=5 << 20,
    )
    assert dfs(fake, "status") == 0
    shown = capsys.readouterr().out
    assert "copies are being made; 3 chunks left, 3.0 MiB, 2 under way, 1.0 MiB/s, about 3 s left" in shown
    assert "node-2 is silent; if it is not back in 90 s" in shown
    assert "paused; `dfs rebalance resume` goes on; 5.0 MiB to move" in shown
    assert dfs(fake, "repair", "status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["seconds_left"] == 3
    assert dfs(fake, "rebalance", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "state": "paused",
        "bytes_left": 5 << 20,
        "bytes_per_second": 0,
        "seconds_left": None,
    }


def test_repair_is_forced_and_rebalance_paused(dfs: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """The operator's word goes to the master; what it answers is said."""
    fake = FakeDfs()
    assert dfs(fake, "repair", "--force") == 0
    assert "node-1, node-2 given up" in capsys.readouterr().out
    assert dfs(fake, "rebalance", "pause") == 0
    assert dfs(fake, "rebalance", "resume") == 0
    assert fake.said == ["force", "pause True", "pause False"]


def test_maintenance_says_whether_it_is_safe(dfs: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """Until when, and which files nobody could read meanwhile."""
    fake = FakeDfs()
    assert dfs(fake, "node", "maintenance", "node-2", "--hours", "2") == 0
    assert "node-2 is in maintenance until 2023-11-14" in (shown := capsys.readouterr().out)
    assert "Do not stop node-2 now: 1 chunk can be read nowhere else. Among them: /a." in shown
    assert dfs(fake, "node", "maintenance", "node-2", "--off", "--json") == 0
    assert json.loads(capsys.readouterr().out)["maintenance_until"] is None
    assert dfs(fake, "node", "maintenance", "node-9") == 3
    assert fake.said == ["maintenance 2 False 7200", "maintenance 2 True 14400"]


def test_names_of_files_cannot_upset_a_terminal(
    dfs: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where it is said what is safe nor in a line of progress; brackets are no markup."""
    left = DrainProgressReply(state="live", chunks_left=1, bytes_left=9, only_here=1, files=["/[red]a\x1b[2J"])
    fake = FakeDfs()
    monkeypatch.setattr(fake, "drain_progress", lambda _node_id: left)
    fake.drain_node = lambda *_, **__: None  # type: ignore[attr-defined]
    assert dfs(fake, "node", "maintenance", "node-2") == 0
    assert dfs(fake, "node", "drain", "node-2") == 0
    assert capsys.readouterr().out.count("/[red]a\\x1b[2J.") == 2
    session = Session(Output(program=PROGRAM))
    session.progress_line("/[red]a\x1b[2J")
    assert capsys.readouterr().err == "dfs: /[red]a\\x1b[2J\n"


def test_a_damaged_last_copy_is_told_apart() -> None:
    """No waiting helps there, so it says what does."""
    left = DrainProgressReply(state="draining", chunks_left=2, bytes_left=9, only_here=2, files=["/a"], damaged=1)
    (line,) = safety_lines("node-1", left)
    assert line.startswith(
        "Do not stop node-1 now: 2 chunks can be read nowhere else. Among them: /a. Damaged on node-1 as well: 1;"
    )
    assert "remove the files" in line
    assert safety_object(left)["chunks_damaged"] == 1
    assert "damaged; start the nodes" in damaged_sentence("node-1", left)
    removed = DrainProgressReply(state="draining", chunks_left=1, bytes_left=9, only_here=1, damaged=1)
    assert "no file has them now" in damaged_sentence("node-1", removed)
    assert damaged_sentence("node-1", DrainProgressReply(state="draining", chunks_left=2, bytes_left=9)) == ""
