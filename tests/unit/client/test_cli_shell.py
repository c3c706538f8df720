"""The interactive terminal, where it reads lines from a pipe, and its completion."""

from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory
from tests.support.client_cli import Ran, dfs_client
from tests.support.fake_dfs import FakeDfs

from dfs_client import prompt
from dfs_client.completion import expanded, last_word, local_candidates, quoted, remote_candidates
from dfs_client.output import Output
from dfs_client.program import cli
from dfs_client.session import Connections, Session
from dfs_client.shell import Shell
from dfs_wire.errors import ConnectFailedError


@pytest.fixture
def fake() -> FakeDfs:
    """A store with a directory, a file and a name with a space."""
    store = FakeDfs()
    store.put("/dir/file", b"content")
    store.put("/dir two/x", b"")
    store.put("/top", b"t")
    return store


@pytest.fixture
def shell(fake: FakeDfs) -> Shell:
    """A terminal over that store."""
    return Shell(cli, Session(Connections(lambda *_: fake), Output(program="dfs-client")))  # type: ignore[arg-type,return-value]


def _run(fake: FakeDfs, *lines: str, options: tuple[str, ...] = ()) -> Ran:
    return dfs_client(fake, *options, stdin="\n".join(lines).encode())


def test_lines_run_over_one_connection_until_exit(fake: FakeDfs) -> None:
    """What stands behind `exit` is not run."""
    ran = _run(fake, "mkdir /a", "", "# a comment", "mkdir /b", "exit", "mkdir /c")
    assert (ran.code, ran.err) == (0, "")
    assert {"/a", "/b"} <= set(fake.entries)
    assert "/c" not in fake.entries


def test_an_error_never_ends_it(fake: FakeDfs) -> None:
    """Unknown commands, usage errors, missing files, open quotation marks, Ctrl-C, our own faults."""
    fake.failures["/interrupts"] = KeyboardInterrupt()
    fake.failures["/breaks"] = RuntimeError("a fault of ours")
    ran = _run(
        fake,
        "nonsense",
        "list --nope",
        "cat /absent",
        "cat 'open",
        "cat /interrupts",
        "cat /breaks",
        "cd /absent",
        "cd a b",
        "help nonsense",
        "--json",
        "cat /top",
    )
    assert (ran.code, ran.out) == (0, "t")
    sentences = [line for line in ran.err.splitlines() if line.startswith("dfs-client: ")]
    assert len(sentences) == 10
    assert "dfs-client: interrupted" in sentences


def test_cd_moves_where_relative_paths_start(fake: FakeDfs) -> None:
    """Like everywhere: `..`, spaces in quotes, the root without an argument."""
    ran = _run(fake, "cd dir", "pwd", "cat file", "cd '../dir two'", "pwd", "cd x", "cd", "pwd", "list top")
    assert ran.out.startswith("/dir\ncontent/dir two\n/\nNAME\t")
    assert ran.err == "dfs-client: /dir two/x is a file; name a directory\n"


def test_an_upload_without_destination_goes_to_the_current_directory(
    fake: FakeDfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` is the home directory, as no shell is there to say so."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "new").write_bytes(b"n")
    assert _run(fake, "cd dir", "upload ~/new").err == ""
    assert fake.contents["/dir/new"] == b"n"


def test_options_of_a_line_end_with_the_line(fake: FakeDfs) -> None:
    """Those in front of the terminal hold for all lines."""
    ran = _run(fake, "list --json /top", "list /top")
    assert ran.out.splitlines()[0].startswith('{"path"')
    assert ran.out.splitlines()[1].startswith("NAME")
    assert _run(fake, "list /top", options=("--json",)).out.startswith('{"path"')


def test_standard_input_belongs_to_the_terminal(fake: FakeDfs) -> None:
    """`upload -` would swallow the lines behind it."""
    ran = _run(fake, "upload - /x", "cat /top")
    assert ran.out == "t"
    assert "belongs to the terminal" in ran.err


def test_help_lists_and_explains(fake: FakeDfs) -> None:
    """Commands of the program and of the terminal."""
    out = _run(fake, "help").out
    assert all(f"\n{name} " in "\n" + out for name in ("upload", "download", "list", "rm", "cd", "help", "exit"))
    assert "Usage: dfs-client list" in _run(fake, "help list").out
    assert _run(fake, "help cd").out.startswith("cd ")


def test_the_connection_is_closed_at_the_end(fake: FakeDfs) -> None:
    """Also without `exit`."""
    _run(fake, "list")
    assert fake.closed


# -- completion ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "before", "word", "typed"),
    [
        ("", [], "", ""),
        ("li", [], "li", "li"),
        ("list ", ["list"], "", ""),
        ("list /a", ["list"], "/a", "/a"),
        ("list '/a b", ["list"], "/a b", "'/a b"),
        ('cat "x y" /a\\ b', ["cat", "x y"], "/a b", "/a\\ b"),
        ("cat 'it''s' ", ["cat", "its"], "", ""),
        ("cat 'a\\", ["cat"], "a\\", "'a\\"),
    ],
)
def test_the_last_word_is_found_behind_quotes(line: str, before: list[str], word: str, typed: str) -> None:
    """Quotes may still be open."""
    found = last_word(line)
    assert (found.before, found.word, found.typed) == (before, word, typed)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("do", ["download"]),
        ("q", ["quit"]),
        ("list /d", ["/dir/", "/dir two/"]),
        ("list t", ["top"]),
        ("ls dir/", ["dir/file"]),
        ("cat '/dir two/", ["/dir two/x"]),
        ("cd /", ["/dir/", "/dir two/"]),
        ("list --lo", ["--long"]),
        ("policy s", ["set", "show"]),
        ("policy set /to", ["/top"]),
        ("help upl", ["upload"]),
        ("nonsense x", []),
        ("df ", []),
        ("list ../", []),
    ],
)
def test_words_are_completed(shell: Shell, line: str, expected: list[str]) -> None:
    """Commands, options, subcommands and remote paths."""
    assert shell.candidates(line)[1] == expected


def test_transfers_complete_paths_of_both_sides(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of an upload is local, of a download remote; behind it either can stand."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dirt").mkdir()
    (tmp_path / ".hidden").touch()
    assert shell.candidates("upload d")[1] == ["dirt/"]
    assert shell.candidates("upload x d")[1] == ["dirt/", "dir/", "dir two/"]
    assert shell.candidates("download d")[1] == ["dir/", "dir two/"]
    assert shell.candidates("download x d")[1] == ["dir/", "dir two/", "dirt/"]
    assert shell.candidates("upload .h")[1] == [".hidden"]
    assert local_candidates("absent/") == []


def test_completion_starts_from_the_current_directory(shell: Shell) -> None:
    """After `cd`."""
    shell.run_line("cd /dir")
    assert shell.prompt == "dfs:/dir> "
    assert shell.candidates("cat f")[1] == ["file"]


def test_completion_says_nothing_when_nobody_answers() -> None:
    """An error in the middle of a line would only disturb."""

    def connect() -> FakeDfs:
        raise ConnectFailedError("the master does not answer")

    assert remote_candidates(connect, "/") == []  # type: ignore[arg-type]


def test_a_candidate_is_typed_so_that_it_reads_back() -> None:
    """Spaces, quotes and comment signs."""
    name = "a 'b' \"c\" #d\\"
    assert last_word("cat " + quoted(name)).word == name
    assert expanded("~x") == "~x"


def test_tab_replaces_the_last_word(shell: Shell) -> None:
    """The menu shows the last name only."""
    completer = prompt._LineCompleter(shell.candidates)
    (found,) = completer.get_completions(Document("cat '/dir two/"), CompleteEvent())
    assert (found.text, found.start_position) == ("/dir\\ two/x", -len("'/dir two/"))
    assert found.display_text == "x"


def test_history_lies_under_dfs_home_for_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold names that are nobody's business."""
    monkeypatch.setenv("DFS_HOME", str(tmp_path / "home"))
    assert isinstance(prompt._history(), FileHistory)
    assert (tmp_path / "home/history").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("DFS_HOME", "/dev/null/impossible")
    assert not isinstance(prompt._history(), FileHistory)
