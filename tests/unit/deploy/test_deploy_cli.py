"""The command `dfs`, over fakes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.deploy import Bench

from dfs_client.exit_codes import run
from dfs_client.output import Output
from dfs_deploy.profiles import ProfileBook
from dfs_deploy.program import COMMANDS, cli, run_program
from dfs_deploy.session import PROGRAM, Session

Run = Callable[..., int]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """What the commands work on."""
    return Bench(tmp_path)


@pytest.fixture
def dfs(bench: Bench, tmp_path: Path) -> Run:
    """Run one command line over the fakes; its exit code."""

    def command(*arguments: str, **environ: str) -> int:
        session = Session(Output(program=PROGRAM), environ={"DFS_HOME": str(tmp_path), **environ})
        # Set as an attribute: a cached property that has its value is never computed.
        session.__dict__["operator"] = bench.operator
        session.__dict__["store"] = bench.store
        return run(cli, list(arguments), PROGRAM, session.output, session)

    return command


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """The objects on standard output."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_life_of_a_cluster_in_json(dfs: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command gives the object that is documented."""
    whole = {"name": "a", "engine": "process", "nodes": 3, "copies": 2, "master": "127.0.0.1:5000"}
    assert dfs("deploy", "--name", "a", "--json") == 0
    assert printed(capsys) == [whole | {"state": "running", "changed": True}]
    assert dfs("--json", "--name", "a", "deploy") == 0
    assert printed(capsys) == [whole | {"state": "running", "changed": False}]
    assert dfs("stop", "--json") == 0
    assert printed(capsys) == [whole | {"state": "stopped", "changed": True}]
    assert dfs("start", "--json") == 0
    assert printed(capsys) == [whole | {"state": "running", "changed": True}]
    assert dfs("scale", "--nodes", "4", "--json") == 0
    assert printed(capsys) == [whole | {"nodes": 4, "state": "running", "changed": True}]
    assert dfs("list", "--json") == 0
    assert printed(capsys) == [whole | {"nodes": 4, "state": "running"}]
    assert dfs("destroy", "--json") == 0
    (kept,) = printed(capsys)
    assert kept["state"] == "destroyed"
    assert str(kept["data_kept"]).endswith("clusters/a")
    assert dfs("destroy", "--delete-data", "--yes", "--json") == 0
    assert printed(capsys)[0]["data_kept"] is None


def test_the_life_of_a_cluster_in_sentences(dfs: Run, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """What a person reads, and what is said meanwhile."""
    assert dfs("deploy") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Cluster default runs: master 127.0.0.1:5000, 3 nodes (3 started now), 2 copies")
    assert "starting node-3" in bench.said
    assert [dfs("stop"), dfs("stop"), dfs("start"), dfs("start")] == [0, 0, 0, 0]
    assert capsys.readouterr().out.splitlines() == [
        "Cluster default is stopped; its data is kept.",
        "Cluster default did not run; its data is kept.",
        "Cluster default runs: master 127.0.0.1:5000, 3 nodes.",
        "Cluster default ran already: master 127.0.0.1:5000, 3 nodes.",
    ]
    assert dfs("list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME\tENGINE\tNODES\tSTATE\tMASTER",
        "default\tprocess\t3\trunning\t127.0.0.1:5000",
    ]
    assert dfs("scale", "--nodes", "4") == 0
    assert "(1 started now)" in capsys.readouterr().out
    assert dfs("destroy") == 0
    assert "its data is kept in" in capsys.readouterr().out
    assert dfs("destroy", "--delete-data", "--yes") == 0
    assert capsys.readouterr().out == "Cluster default and all its data are gone.\n"


def test_the_environment_names_a_cluster_that_does_not_exist_yet(dfs: Run, bench: Bench) -> None:
    """Deploy makes it."""
    assert dfs("deploy", DFS_PROFILE="from-the-environment") == 0
    assert bench.store.names() == ["from-the-environment"]


def test_deploy_tells_the_running_cluster_its_settings(dfs: Run, bench: Bench) -> None:
    """In the order given, each as it was written."""
    assert dfs("deploy", "--set", "dead_seconds=30", "--set", "scrub_seconds=1e6") == 0
    assert bench.health.settings == {"dead_seconds": "30", "scrub_seconds": "1e6"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("deploy", "--set", "dead_seconds"), 2, "NAME=VALUE"),
        (("settings", "list"), 3, "dfs deploy"),
        (("status",), 3, "dfs deploy"),
        (("stop",), 3, "dfs deploy"),
        (("deploy", "--engine", "docker"), 2, "no docker engine"),
        (("deploy", "--engine", "abacus"), 2, "abacus"),
        (("deploy", "--nodes", "many"), 2, "many"),
        (("scale",), 2, "--nodes"),
        (("start", "--name", "../x"), 2, "no cluster name"),
        (("profile", "export"), 3, "dfs deploy"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_errors_are_one_sentence_with_the_right_code(
    dfs: Run, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, words: str
) -> None:
    """On standard error, and nothing on standard output."""
    assert dfs(*arguments) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert words in shown.err


def test_data_is_not_deleted_without_a_yes(dfs: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off a terminal it is refused; on one, the answer counts."""
    assert dfs("deploy") == 0
    assert dfs("destroy", "--delete-data") == 2
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "n")
    assert dfs("destroy", "--delete-data") == 130
    assert bench.store.names() == ["default"]
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "y")
    assert dfs("destroy", "--delete-data") == 0
    assert bench.store.names() == []


@pytest.fixture
def two_clusters(dfs: Run, bench: Bench, tmp_path: Path) -> Bench:
    """`keep` and then `scrap`, with profiles in files."""
    bench.use_profiles(ProfileBook(tmp_path))
    assert dfs("deploy", "--name", "keep", "--nodes", "4") == 0
    assert dfs("deploy", "--name", "scrap", "--nodes", "4") == 0
    return bench


def test_destroy_said_again_never_means_another_cluster(
    dfs: Run, two_clusters: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither after it was done, nor without the data; and no other command takes the one that is left for it."""
    assert dfs("destroy") == 0
    assert dfs("destroy") == 0
    capsys.readouterr()
    assert dfs("destroy", "--delete-data", "--yes") == 2
    assert "whose data is to go: keep, scrap" in capsys.readouterr().err
    assert dfs("destroy", "--delete-data", "--yes", DFS_PROFILE="scrap") == 0
    assert two_clusters.store.names() == ["keep"]
    for again in (
        ("destroy", "--delete-data", "--yes"),
        ("destroy",),
        ("scale", "--nodes", "3"),
        ("deploy", "--nodes", "3"),
        ("node", "remove", "node-2"),
        ("node", "replace", "node-2", "--yes"),
    ):
        capsys.readouterr()
        assert dfs(*again) == 3
        assert "'scrap', the one deployed last, is gone" in capsys.readouterr().err
    assert len(two_clusters.store.load("keep").nodes) == 4
    assert two_clusters.engine.discarded == []
    assert dfs("deploy", "--name", "keep") == 0
    assert dfs("scale", "--nodes", "3") == 0
    assert len(two_clusters.store.load("keep").nodes) == 3


def test_destroy_interrupted_at_the_data_is_said_again(
    dfs: Run, two_clusters: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is meant until all of it is gone."""
    remove = two_clusters.engine.remove

    def interrupted(_spec: object) -> None:
        monkeypatch.setattr(two_clusters.engine, "remove", remove)
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: "y")
    monkeypatch.setattr(two_clusters.engine, "remove", interrupted)
    assert dfs("destroy", "--delete-data") == 130
    assert dfs("destroy", "--delete-data") == 0
    assert two_clusters.store.names() == ["keep"]


def test_an_empty_name_is_not_the_one_deployed_last(
    dfs: Run, two_clusters: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is what a variable that is not set leaves behind."""
    for line in (("destroy", "--name", ""), ("--name", "", "stop"), ("node", "remove", "node-2", "--name=")):
        assert dfs(*line) == 2
        assert "--name is empty" in capsys.readouterr().err
    assert not two_clusters.store.load("scrap").destroyed
    assert len(two_clusters.engine.running) == 5


def test_a_volume_is_not_replaced_unasked_in_one_of_several_clusters(dfs: Run, two_clusters: Bench) -> None:
    """Who is not asked says which cluster it is."""
    assert dfs("node", "replace", "node-2", "--yes") == 2
    assert dfs("node", "replace", "node-2", "--yes", "--name", "keep") == 0


def test_with_one_cluster_no_name_is_needed(dfs: Run, bench: Bench, tmp_path: Path) -> None:
    """From its deploy to its end, and for the next one."""
    bench.use_profiles(ProfileBook(tmp_path))
    assert dfs("deploy", "--name", "only") == 0
    assert [dfs("destroy"), dfs("destroy", "--delete-data", "--yes")] == [0, 0]
    assert dfs("destroy") == 3
    assert dfs("deploy") == 0
    assert bench.store.names() == ["default"]
    assert dfs("destroy", "--delete-data", "--yes") == 0


def test_logs_of_one_and_of_all_roles(dfs: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """For people, for programs, and following."""
    dfs("deploy")
    capsys.readouterr()
    assert dfs("logs", "master") == 0
    assert capsys.readouterr().out == "2026-01-01 hello\n"
    assert dfs("logs") == 0
    assert capsys.readouterr().out.splitlines()[1] == "node-1   2026-01-01 hello"
    assert dfs("logs", "-f", "node-2", "--json") == 0
    assert printed(capsys) == [{"role": "node-2", "at": "2026-01-01", "message": "hello"}]
    assert dfs("logs", "node-7") == 3


def test_db_commands_are_handed_to_the_master_program(dfs: Run, bench: Bench) -> None:
    """With --json where it was given."""
    dfs("deploy")
    bench.engine.calls.clear()
    assert dfs("db", "show", "files", "--json") == 0
    assert dfs("db", "check") == 0
    assert dfs("db", "upgrade") == 0
    assert dfs("db", "backup", "/x/copy.db") == 0
    assert bench.engine.calls == ["db show files --json", "db check", "db upgrade", "db backup /x/copy.db"]


def test_the_exit_code_of_a_db_command_is_handed_on(
    dfs: Run, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program has said why; nothing is added."""
    dfs("deploy")
    capsys.readouterr()
    monkeypatch.setattr(bench.engine, "run_master_command", lambda _spec, _arguments: 7)
    assert dfs("db", "check") == 7
    assert capsys.readouterr().err == ""


def test_a_profile_goes_to_another_home_without_the_right_to_operate(
    dfs: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exported, imported, refused when the name is taken."""
    dfs("deploy", "--name", "a")
    capsys.readouterr()
    assert dfs("profile", "export") == 0
    exported = capsys.readouterr().out
    assert 'client_key = "aa"' in exported
    assert "bb" not in exported
    assert dfs("profile", "export", "--json") == 0
    assert printed(capsys)[0]["client_key"] == "aa"
    file = tmp_path / "a.toml"
    file.write_text(exported)
    second = str(tmp_path / "second")
    assert dfs("profile", "import", str(file), DFS_HOME=second) == 0
    assert dfs("profile", "import", str(file), DFS_HOME=second) == 4
    assert dfs("profile", "import", str(file), "--name", "b", "--json", DFS_HOME=second) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["name"] == "b"
    assert (tmp_path / "second" / "profiles" / "b.toml").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(dfs: Run, capsys: pytest.CaptureFixture[str], shell: str) -> None:
    """They name the program and its variable."""
    assert dfs("completion", shell) == 0
    assert "_DFS_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS,
        "node list",
        "db show",
        "db backup",
        "profile export",
        "profile import",
        "image base",
        "image build",
        "export compose",
    ],
)
def test_every_command_has_help_and_json(dfs: Run, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """And is described in the operations document."""
    assert dfs(*command.split(), "--help") == 0
    help_text = capsys.readouterr().out
    if command not in {"node", "settings", "db", "profile", "image", "export", "repair", "rebalance"}:
        assert "--json" in help_text
    document = (Path(__file__).parents[3] / "docs" / "operations.md").read_text("utf-8")
    assert f"dfs {command}" in document


def test_the_program_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    """As all four programs do."""
    assert run_program(["--version"]) == 0
    assert capsys.readouterr().out.startswith("dfs ")
