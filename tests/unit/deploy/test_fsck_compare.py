"""What `dfs fsck` makes of a catalog and of what the volumes hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from blake3 import blake3
from tests.support.masters import Master, running_master

from dfs_deploy.fsck.compare import Findings, compare, paths_of_digest
from dfs_deploy.fsck.evidence import Evidence, copy_database
from dfs_deploy.fsck.volume_files import FoundCopy
from dfs_wire import messages as m
from dfs_wire.errors import CorruptError
from dfs_wire.service import Session

CONTENT = b"some content"
DIGEST = blake3(CONTENT).hexdigest()
CLIENT = Session("127.0.0.1:40000", role=m.Role.CLIENT)


class Case:
    """A cluster of two nodes that both hold `/dir/a`, and what their volumes are said to hold."""

    def __init__(self, place: Path, master: Master) -> None:
        self.place = place
        self.master = master
        self.nodes = [master.join(name)[1].node_id for name in ("node-1", "node-2")]
        master.upload("/dir/a", CONTENT, self.nodes)
        self.held = {node: [self.copy()] for node in self.nodes}

    def copy(self, digest: str = DIGEST, size: int = len(CONTENT), generation: int = 1, damage: str = "") -> FoundCopy:
        """A chunk file; without arguments that of the file."""
        return FoundCopy(digest, size, generation, 0, damage)

    @contextmanager
    def evidence(self, *, scanned: list[int] | None = None) -> Iterator[Evidence]:
        """What a check would look at now."""
        self.save("catalog.db")
        self.save("later.db")
        with Evidence(self.place / "scratch.db", self.place / "catalog.db") as evidence:
            evidence.attach("later", self.place / "later.db")
            for node in self.nodes if scanned is None else scanned:
                evidence.add_scan(node, self.held[node])
            yield evidence

    def save(self, name: str) -> None:
        """A backup of the catalog as it is now, unless there is one of that name."""
        if not (self.place / name).exists():
            copy_database(self.place / "master" / "metadata.db", self.place / name)

    def findings(self, *, scanned: list[int] | None = None) -> Findings:
        """What is wrong."""
        with self.evidence(scanned=scanned) as evidence:
            return compare(evidence)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """One to spoil."""
    with running_master(tmp_path / "master") as master:
        yield Case(tmp_path, master)


def test_a_sound_cluster_has_no_findings(case: Case) -> None:
    """And everything was looked at."""
    assert case.findings() == Findings(copies=2, bytes=2 * len(CONTENT))


@pytest.mark.parametrize(
    ("spoiled", "what"),
    [
        ([], "missing"),
        ([{"damage": "digest"}], "digest"),
        ([{"size": 5}], "another size"),
        ([{"generation": 0}], "an older file"),
    ],
)
def test_a_damaged_copy_is_named_and_its_chunk_is_poor(case: Case, spoiled: list[dict[str, object]], what: str) -> None:
    """With the files that it concerns."""
    case.held[case.nodes[1]] = [case.copy(**changes) for changes in spoiled]  # type: ignore[arg-type]
    with case.evidence() as evidence:
        found = compare(evidence)
        assert paths_of_digest(evidence, DIGEST) == ["/dir/a"]
    assert [(bad.node, bad.digest, bad.what) for bad in found.damaged] == [("node-2", DIGEST, what)]
    (poor,) = found.poor
    assert (poor.wanted, poor.good, poor.unseen, poor.paths, poor.lost) == (2, 1, 0, ("/dir/a",), False)


def test_a_chunk_without_a_good_copy_is_lost(case: Case) -> None:
    """Unless a volume that was not looked at may still hold one."""
    case.held = {node: [] for node in case.nodes}
    assert [chunk.lost for chunk in case.findings().poor] == [True]
    for database in case.place.glob("*.db"):
        database.unlink()
    (poor,) = case.findings(scanned=case.nodes[:1]).poor
    assert (poor.lost, poor.unseen) == (False, 1)


def test_a_newer_file_than_recorded_is_sound(case: Case) -> None:
    """A put whose commit never came may have written the copy anew."""
    case.held[case.nodes[0]] = [case.copy(generation=9)]
    assert not case.findings().damaged


def test_what_the_catalog_does_not_know_is_unknown_not_damage(case: Case) -> None:
    """An upload under way, or an orphan."""
    stranger = blake3(b"stranger").hexdigest()
    case.held[case.nodes[0]].append(case.copy(stranger, 8, 3))
    found = case.findings()
    assert [(copy.node, copy.digest, copy.size, copy.generation) for copy in found.unknown] == [
        ("node-1", stranger, 8, 3)
    ]
    assert not found.damaged
    assert not found.poor


def test_what_changes_while_the_volumes_are_read_is_no_damage(case: Case) -> None:
    """Files stored after the first backup are not unknown; copies given up after it are not missing."""
    case.save("catalog.db")
    late = b"stored meanwhile"
    case.master.upload("/late", late, case.nodes, request_id=b"q" * 16)
    for node in case.nodes:
        case.held[node].append(case.copy(blake3(late).hexdigest(), len(late)))
    found = case.findings()
    assert (found.damaged, found.poor, found.unknown) == ([], [], [])


def test_a_removed_file_is_no_longer_named(case: Case) -> None:
    """Its chunk may still be there for the version's grace."""
    case.master.ask(CLIENT, m.Remove(request_id=b"d" * 16, path="/dir", recursive=True))
    with case.evidence() as evidence:
        assert paths_of_digest(evidence, DIGEST) == []


def test_contradictions_of_the_catalog_are_counted(case: Case) -> None:
    """Each in words."""
    case.save("catalog.db")
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(case.place / "catalog.db", isolation_level=None)) as database:
        database.execute("UPDATE versions SET size = size + 1")
        database.execute("UPDATE chunks SET copies_good = 7")
    assert case.findings().contradictions == [
        "1 versions whose extents are not as long as the version",
        "1 chunks whose count of good copies is wrong",
    ]


def test_a_damaged_database_is_told_apart(case: Case) -> None:
    """It is not read as an empty one."""
    case.save("catalog.db")
    path = case.place / "catalog.db"
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8_000)
    with pytest.raises(CorruptError), case.evidence():
        pass
    with pytest.raises(CorruptError):
        copy_database(path, case.place / "other.db")
