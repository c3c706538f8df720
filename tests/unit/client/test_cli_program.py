"""The program as a whole: options, exit codes, what it imports, and how it ends."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.support.client_cli import dfs_client
from tests.support.fake_dfs import FakeDfs

from dfs_client.exit_codes import EXIT_CODES
from dfs_client.program import cli
from dfs_client.progress import Tally, progress_bar
from dfs_client.session import ALIASES, Connections
from dfs_client.types import ProgressEvent
from dfs_wire.errors import ERRORS

ROOT = Path(__file__).parents[3]

#: What a listing leaves out: each costs a good part of its time.
HEAVY = {
    "asyncio",
    "blake3",
    "concurrent.futures",
    "crc32c",
    "dfs_client.engine",
    "importlib.metadata",
    "json",
    "platformdirs",
    "prompt_toolkit",
    "rich",
    "ssl",
}

#: What is left out where no other command's help is wanted.
HEAVY_FOR_LISTS = HEAVY | {"click.shell_completion", "dataclasses", "encodings.idna", "hashlib"}


def _commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Every command below a group, by its whole name."""
    found: dict[str, click.Command] = {}
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            found[prefix + name] = command
            if isinstance(command, click.Group):
                found |= _commands(command, f"{prefix}{name} ")
    return found


COMMANDS = _commands(cli)


def _run(*arguments: str, code: str = "", stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """The real program in a process of its own."""
    program = [sys.executable, "-c", code] if code else [sys.executable, "-m", "dfs_client.cli"]
    return subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=60, input=stdin, check=False)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_has_help_and_the_common_options(name: str) -> None:
    """`-h` and `--help`; each option is explained."""
    for flag in ("-h", "--help"):
        ran = dfs_client(FakeDfs(), *name.split(), flag)
        assert ran.code == 0
        assert ran.out.startswith("Usage: dfs-client " + name)
    command = COMMANDS[name]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert all(option.help for option in options)
    if not isinstance(command, click.Group):
        assert {"--json", "--profile", "--master"} <= {flag for option in options for flag in option.opts}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_manual_names_each_command_and_option(name: str) -> None:
    """`docs/commands.md` is complete."""
    manual = (ROOT / "docs/commands.md").read_text()
    _, heading, section = manual.partition(f"## dfs-client {name.split()[0]}\n")
    assert heading, f"docs/commands.md has no section 'dfs-client {name.split()[0]}'"
    section = section.partition("\n## ")[0]
    assert f"dfs-client {name}" in heading + section
    common = {"--json", "--profile", "--master", "--help"}
    for parameter in COMMANDS[name].params:
        for flag in parameter.opts if isinstance(parameter, click.Option) else []:
            assert flag in common or f"`{flag}" in section, f"{flag} of {name} is not explained"


def test_the_manual_has_the_exit_codes_and_aliases() -> None:
    """The same table that the program uses, and every error has a code of it."""
    manual = (ROOT / "docs/commands.md").read_text()
    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in manual
    assert {error.exit_code for error in ERRORS.values()} <= set(EXIT_CODES)
    assert all(f"`{alias}`" in manual for alias in ALIASES)


def test_the_json_fields_of_the_help_are_those_of_the_manual() -> None:
    """Nobody keeps two lists by hand."""
    manual = (ROOT / "docs/commands.md").read_text()
    for name, command in COMMANDS.items():
        for line in getattr(command, "json_fields", ()):
            assert line in manual, f"docs/commands.md lacks for {name}: {line}"


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_aliases_are_the_same_command(alias: str, name: str) -> None:
    """`put`, `get` and `ls`."""
    with click.Context(cli) as context:
        assert cli.get_command(context, alias) is cli.get_command(context, name)


@pytest.mark.parametrize("arguments", [["--json", "list", "/x"], ["list", "--json", "/x"], ["list", "/x", "--json"]])
def test_json_may_stand_before_or_behind_the_command(arguments: list[str]) -> None:
    """An error is a sentence and an object."""
    ran = dfs_client(FakeDfs(), *arguments)
    assert (ran.code, ran.error["code"]) == (3, "not_found")
    assert ran.err.startswith("dfs-client: /x does not exist")


def test_profile_and_master_reach_the_connection_from_either_place() -> None:
    """The one behind the command wins."""
    asked: list[tuple[str | None, str | None]] = []

    def connect(profile: str | None, master: str | None) -> FakeDfs:
        asked.append((profile, master))
        return FakeDfs()

    from dfs_client.program import run_program

    for arguments in (
        ["--profile", "a", "df"],
        ["df", "--profile", "a", "--master", "h:1"],
        ["--profile", "a", "df", "--profile", "b"],
        ["df"],
    ):
        assert run_program(arguments, Connections(connect)) == 0  # type: ignore[arg-type]
    assert asked == [("a", None), ("a", "h:1"), ("b", None), (None, None)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nope"], "dfs-client: no such command 'nope'; see 'dfs-client --help'"),
        (["list", "--nope"], "dfs-client: no such option '--nope'; see 'dfs-client list --help'"),
        (["list", "--jsn"], "dfs-client: no such option '--jsn'. Did you mean '--json'? See 'dfs-client list --help'"),
        (["policy"], "dfs-client: name a command of 'dfs-client policy'; 'dfs-client policy --help' lists them"),
        (["--profile", "", "list"], "dfs-client: --profile is empty; give it a value, or leave it out"),
        (["list", "--master="], "dfs-client: --master is empty; give it a value, or leave it out"),
        (["rm"], "dfs-client: missing argument 'PATH...'; see 'dfs-client rm --help'"),
    ],
)
def test_a_line_that_cannot_be_parsed_is_one_sentence(arguments: list[str], sentence: str) -> None:
    """Exit code 2, and an object with --json."""
    ran = dfs_client(FakeDfs(), *arguments)
    assert (ran.code, ran.err.strip()) == (2, sentence)
    assert dfs_client(FakeDfs(), "--json", *arguments).error["code"] == "usage"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_is_no_fault(closed: str) -> None:
    """What is written there is lost."""
    for code in ("from dfs_client.cli import main; main()", "from dfs_deploy.cli import main; main()"):
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", code, "--help"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith("Usage: dfs") is (">&-" not in closed.split())


def test_closed_standard_input_is_not_an_empty_file() -> None:
    """Else `upload -` would store one."""
    code = "import sys; from dfs_runtime.streams import open_standard_streams as o; o(); sys.stdin.buffer.read()"
    command = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Bad file descriptor" in ran.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str) -> None:
    """They call the program by its name."""
    ran = dfs_client(FakeDfs(), "completion", shell)
    assert ran.code == 0
    assert "_DFS_CLIENT_COMPLETE" in ran.out


def test_a_shell_completes_commands_and_remote_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the protocol between click and the script."""
    fake = FakeDfs()
    fake.put("/dir/file")
    monkeypatch.setenv("_DFS_CLIENT_COMPLETE", "bash_complete")
    for words, expected in (("dfs-client dow", "plain,download"), ("dfs-client list /d", "plain,/dir/")):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        with pytest.raises(SystemExit):
            dfs_client(fake)
        assert expected in _completed(fake)


def _completed(fake: FakeDfs) -> str:
    from click.testing import CliRunner

    from dfs_client.program import run_program

    with CliRunner().isolation() as (out, _, _), pytest.raises(SystemExit):
        run_program([], Connections(lambda *_: fake))  # type: ignore[arg-type,return-value]
    return out.getvalue().decode()


def test_the_version_is_printed() -> None:
    """In a process of its own, as a user would."""
    ran = _run("--version")
    assert (ran.returncode, ran.stdout.split()[0]) == (0, "dfs-client")


@pytest.mark.parametrize("arguments", [["list", "--master", "127.0.0.1:1"], ["--help"]])
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    """A listing starts fast: no TLS, no progress bar, no hashing, no terminal."""
    code = (
        "import sys, os; os.environ.update(DFS_HOME=sys.argv.pop(1), DFS_KEY='00' * 32)\n"
        "from dfs_client.program import run_program\n"
        "run_program(sys.argv[1:])\n"
        f"heavy = {HEAVY_FOR_LISTS if 'list' in arguments else HEAVY!r}\n"
        "print('HEAVY', *sorted(heavy & set(sys.modules)))"
    )
    ran = _run(str(tmp_path), *arguments, code=code)
    assert ran.stdout.splitlines()[-1] == "HEAVY", ran.stderr


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    """As in `dfs-client list | head -1`."""
    code = (
        "import sys\n"
        "from dfs_client.program import run_program\n"
        "from dfs_client.session import Connections\n"
        "from tests.support.fake_dfs import FakeDfs\n"
        "fake = FakeDfs()\n"
        "for number in range(20_000): fake.entries[f'/{number}'] = fake.entries['/']\n"
        "fake.list = lambda path, copies=False: iter(fake.entries.values())\n"
        "sys.exit(run_program(['list'], Connections(lambda *_: fake)))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline().startswith("NAME")
        program.stdout.close()
        assert program.stderr.read() == ""
        assert program.wait(60) == 1


# -- progress --------------------------------------------------------------------------------------------------


def test_the_tally_adds_files_up() -> None:
    """A skipped file counts as done."""
    tally = Tally(None, 3)
    for event in (
        ProgressEvent("start", "/a", 0, 100),
        ProgressEvent("bytes", "/a", 40, 100),
        ProgressEvent("start", "/b", 0, 50),
        ProgressEvent("bytes", "/b", 10, 50),
        ProgressEvent("done", "/a", 100, 100),
        ProgressEvent("skipped", "/b", 0, 50),
        ProgressEvent("start", "-", 0, -1),
        ProgressEvent("bytes", "-", 7, -1),
    ):
        tally.observe(event)
    assert (tally.bytes_done, tally.bytes_total, tally.files_done) == (157, 150, 2)


def test_off_a_terminal_there_is_no_bar() -> None:
    """And rich is not loaded."""
    import io

    from dfs_client.output import Output

    with progress_bar(Output(program="x", err=io.StringIO()), "uploading", files=1) as progress:
        assert progress is None


def test_on_a_terminal_the_bar_shows_speed_and_time_left() -> None:
    """On standard error, gone at the end."""
    import io

    from dfs_client.output import Output

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    err = Terminal()
    with progress_bar(Output(program="x", err=err), "uploading", files=2, bytes_total=2_048) as progress:
        assert progress is not None
        progress(ProgressEvent("start", "/a", 0, 1_024))
        progress(ProgressEvent("done", "/a", 1_024, 1_024))
    assert "uploading 1/2" in err.getvalue()
    assert "1.0/2.0" in err.getvalue()
