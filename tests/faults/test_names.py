"""Names are text, stored exactly or refused with the reason; they are never a path on anybody's disk."""

import json
import re
import unicodedata
from collections.abc import Iterator

import pytest
from tests.support.client_command import run_client
from tests.support.faults import FaultCluster

from dfs_client.api import Dfs
from dfs_wire.errors import UsageError

KEPT = [
    *("-rf", "--help", "-", "~", "$HOME", "`id`", "$(id)", "a b", " ", " leading", "trailing ", "trailing."),
    *("...", "..a", "back\\slash", "..\\..\\windows", "C:", "CON", "a:b", "a|b", "*", "?", '"', "'", "%s%n", "{0}"),
    *("new\nline", "tab\tbed", "\r", "bell\x07", "\x1b[31mred", "\x7f", "\x01", "\x85", "bidi\u202egnp.exe"),
    *("\ufeffbom", "\u200b", "zero\u200dwidth", "é", "e\u0301", "ﬁ", "İ", "ß", "SS", "Readme", "README", "日本語"),
    *("\U0001f469\u200d\U0001f467", "\U0010ffff", "f" * 255, "é" * 127, "0" * 64),
    *("x.tmp", ".hidden.tmp", "identity", "lock", "failed", "chunks", "metadata.db"),
]

REFUSED = {
    "empty": "",
    "a dot": "/.",
    "two dots": "/..",
    "two dots inside": "/a/../b",
    "two dots at the end": "/a/..",
    "NUL": "/a\0b",
    "a name of 256 bytes": "/" + "f" * 256,
    "a name of 256 bytes in 128 letters": "/" + "é" * 128,
    "a path of 4,096 bytes": "/" + "/".join(["d" * 240] * 17),
    "4,096 deep": "/a" * 4096,
    "half a surrogate pair": "/\ud800",
    "a byte that was no UTF-8": "/\udcff",
}

#: What may lie in a volume.
OWN_FILES = re.compile(r"identity|lock|failed|scrub|journal(/[01])?|chunks(/[0-9a-f]{2}(/[0-9a-f]{64})?)?")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultCluster]:
    """One for all; whatever was asked of it, its volumes hold nothing but chunks under their digests."""
    with FaultCluster(tmp_path_factory.mktemp("names")) as cluster:
        yield cluster.start()
        for volume in cluster.volumes.values():
            found = [str(path.relative_to(volume)) for path in volume.rglob("*")]
            assert [name for name in found if not OWN_FILES.fullmatch(name)] == []
        for daemon in cluster.daemons.values():
            assert "Traceback" not in daemon.log.read_text()


@pytest.fixture(scope="module")
def dfs(cluster: FaultCluster) -> Iterator[Dfs]:
    """One client for all."""
    with cluster.client() as dfs:
        yield dfs


def store(dfs: Dfs, path: str, content: bytes) -> None:
    """A small file."""
    with dfs.open(path, "wb") as file:
        file.write(content)


def test_every_name_is_kept_byte_by_byte(cluster: FaultCluster, dfs: Dfs) -> None:
    """Stored, listed, read, renamed and removed under exactly this name, beside all that look like it."""
    assert len({unicodedata.normalize("NFC", name) for name in KEPT}) < len(set(KEPT)) == len(KEPT)
    for name in KEPT:
        store(dfs, f"/kept/{name}", name.encode())
    assert sorted(entry.path for entry in dfs.list("/kept")) == sorted(f"/kept/{name}" for name in KEPT)
    assert sorted(row["path"] for row in cluster.rows("SELECT path FROM files WHERE kind = 'file'")) == [
        f"/kept/{name}" for name in sorted(KEPT)
    ]
    dfs.make_directory("/moved")
    for name in KEPT:
        dfs.rename(f"/kept/{name}", f"/moved/{name}")
    for name in KEPT:
        with dfs.open(f"/moved/{name}") as file:
            assert file.read() == name.encode()
        dfs.remove(f"/moved/{name}")
    assert list(dfs.list("/moved")) == []


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_kept_is_refused_with_the_reason(dfs: Dfs, what: str) -> None:
    """By every operation, before anything is done."""
    path = REFUSED[what]
    for attempt in (
        lambda: dfs.upload(__file__, path),
        lambda: dfs.open(path),
        lambda: dfs.stat(path),
        lambda: list(dfs.list(path)),
        lambda: dfs.make_directory(path, parents=True),
        lambda: dfs.remove(path, recursive=True),
        lambda: dfs.rename(path, "/x"),
        lambda: dfs.rename("/kept", path),
        lambda: dfs.set_policy(path, 1),
    ):
        with pytest.raises(UsageError) as caught:
            attempt()
        assert len(str(caught.value).splitlines()) == 1


def test_the_deepest_path_that_is_allowed_works(dfs: Dfs) -> None:
    """2,047 directories of one letter: 4,094 bytes."""
    path = "/d" * 2_046 + "/f"
    store(dfs, path, b"deep")
    assert dfs.stat(path).entry.path == path
    with dfs.open(path) as file:
        assert file.read() == b"deep"
    assert [entry.path for entry in dfs.list(path[:-2])] == [path]
    dfs.remove("/d", recursive=True)


def test_no_name_reaches_a_terminal_unescaped(cluster: FaultCluster, dfs: Dfs) -> None:
    """`list` off a terminal shows a name in one line without control characters; `--json` gives it exactly."""
    names = ["new\nline", "\x1b[31mred", "bell\x07", "bidi\u202egnp", "\x85"]
    for name in names:
        store(dfs, f"/terminal/{name}", b"x")
    shown = run_client(cluster, "list", "/terminal")
    text = shown.output.decode()
    assert len(text.splitlines()) == len(names) + 1, text
    assert all(char.isprintable() or char in "\t\n" for char in text), ascii(text)
    exact = run_client(cluster, "list", "--json", "/terminal")
    assert sorted(json.loads(line)["path"] for line in exact.output.splitlines()) == sorted(
        f"/terminal/{name}" for name in names
    )
    for name in names:
        missing = run_client(cluster, "stat", f"/absent/{name}")
        assert missing.code == 3
        assert all(char.isprintable() for char in missing.sentence), ascii(missing.sentence)
