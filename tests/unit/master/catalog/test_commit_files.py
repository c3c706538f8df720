"""`Commit` decides: versions appear whole, only with the copies that the policy asks for."""

import msgspec
import pytest
from tests.support.catalog import digest_of
from tests.support.writing import (
    CHUNK_SIZE,
    Standing,
    Store,
    commit_files,
    file_commit,
    make_directories,
    receipt,
    receipts,
    request_id,
    set_policy,
)

from dfs_master.catalog.mutations import files as files_module
from dfs_master.catalog.mutations.base import Context
from dfs_master.catalog.mutations.files import CommitFiles
from dfs_master.catalog.mutations.nodes import RecordFindings
from dfs_master.catalog.mutations.paths import Place
from dfs_wire.errors import ConflictError, UsageError
from dfs_wire.limits import CHUNK_BYTES_MAX, EXTENTS_MAX
from dfs_wire.messages import EXPECT_ABSENT, Extent, FileCommit, Finding, FindingKind, Outcome, Receipt


def commit_with(store: Store, file: FileCommit, *given: object) -> Outcome:
    """Commit one file with exactly these receipts."""
    outcome: Outcome = store.do(CommitFiles(request_id(), [file], list(given)))[0]  # type: ignore[arg-type]
    return outcome


def test_a_commit_writes_everything_that_a_file_is(store: Store) -> None:
    """Entry, version, extents, chunks and replicas say what was committed."""
    outcome = store.commit("/d/file", "one", "two", "one")
    assert outcome.code == ""
    assert store.query("SELECT size, mtime_ns, mode, removed_at, created_at FROM versions") == [
        (3 * CHUNK_SIZE, 1_234_567_890, 0o640, None, store.clock.wall_ms())
    ]
    assert store.query(
        'SELECT ordinal, digest, "offset", length FROM extents e JOIN chunks c ON c.id = chunk_id ORDER BY ordinal'
    ) == [(n, digest_of(text), 0, CHUNK_SIZE) for n, text in enumerate(["one", "two", "one"])]
    assert (
        store.query("SELECT size, copies_wanted, copies_good, unreferenced_since, state FROM chunks")
        == [(CHUNK_SIZE, 2, 2, None, "stored")] * 2
    )
    assert store.query("SELECT DISTINCT node_id, generation, state, stored_at, verified_at FROM replicas") == [
        (1, 1, "good", 1_000, 1_000),
        (2, 1, "good", 1_000, 1_000),
    ]
    assert store.query("SELECT name, version_id FROM entries WHERE kind = 'file'") == [("file", outcome.version)]


def test_missing_directories_are_made(store: Store) -> None:
    """A directory that nobody made by name is 0755 and as old as the commit."""
    store.commit("/a/b/file")
    assert store.paths() == {"/a": "directory", "/a/b": "directory", "/a/b/file": "file"}
    assert store.query("SELECT DISTINCT mode, mtime_ns FROM entries WHERE name IN ('a', 'b')") == [
        (0o755, store.clock.wall_ms() * 1_000_000)
    ]


def test_an_empty_file_needs_no_copies(store: Store) -> None:
    """It has a version and no extents."""
    store.standings.clear()
    assert store.commit("/empty").version > 0
    assert store.one("SELECT count(*) FROM extents") == 0


def test_only_permission_bits_are_kept(store: Store) -> None:
    """The kind of a local file is no business of the store."""
    store.do(commit_files(file_commit("/f", mode=0o104_755)))
    assert store.one("SELECT mode FROM versions") == 0o4_755


def test_a_new_version_supersedes_the_old_one(store: Store) -> None:
    """The entry stays, the old version begins its grace."""
    first = store.commit("/f", "one").version
    store.clock.advance(5)
    second = store.commit("/f", "two").version
    assert store.one("SELECT count(*) FROM entries WHERE kind = 'file'") == 1
    assert store.query("SELECT id, removed_at FROM versions ORDER BY id") == [
        (first, store.clock.wall_ms()),
        (second, None),
    ]


@pytest.mark.parametrize("in_one_group", [True, False])
def test_two_creates_of_an_absent_name_have_one_winner(store: Store, in_one_group: bool) -> None:
    """Both expect nothing there: the second finds the first, in whatever group."""
    both = [commit_files(file_commit("/f", text, expect=EXPECT_ABSENT)) for text in ("one", "two")]
    (first,), (second,) = store.run(*both) if in_one_group else [store.do(each) for each in both]
    assert (first.code, second.code) == ("", "exists")
    assert store.one("SELECT digest FROM versions") == digest_of("one")


def test_an_expected_version_must_be_the_current_one(store: Store) -> None:
    """An update that did not see the last one is refused, and told which it is."""
    first = store.commit("/f", "one").version
    second = store.commit("/f", "two", expect=first).version
    stale = store.commit("/f", "three", expect=first)
    assert (stale.code, stale.details) == ("conflict", {"version": second})
    gone = store.commit("/g", "three", expect=first)
    assert (gone.code, gone.details) == ("conflict", {"version": 0})


def test_a_file_never_replaces_a_directory(store: Store) -> None:
    """Nor does it lie in a file."""
    store.commit("/d/f", "one")
    assert store.commit("/d", "one").code == "wrong_kind"
    assert store.commit("/d/f/g", "one").code == "wrong_kind"
    assert store.commit("/", "one").code == "usage"


def test_one_refused_file_spoils_no_other(store: Store) -> None:
    """Each file has its own outcome, and the refused one leaves no directory behind."""
    files = [file_commit("/a/x", "one"), file_commit("/b/y", "two"), file_commit("/c/z", "three")]
    given = [each for file in (files[0], files[2]) for each in receipts(file, (1, 2))]
    outcomes = store.do(CommitFiles(request_id(), files, given))
    assert [outcome.code for outcome in outcomes] == ["", "chunks_missing", ""]
    assert outcomes[1].details == {"digests": [digest_of("two")], "copies": 2}
    assert set(store.paths()) == {"/a", "/a/x", "/c", "/c/z"}
    assert store.one("SELECT count(*) FROM chunks") == 2


def test_the_same_name_twice_in_one_commit_is_two_versions(store: Store) -> None:
    """The later one stays."""
    store.do(commit_files(file_commit("/f", "one"), file_commit("/f", "two")))
    assert store.query("SELECT digest FROM versions WHERE removed_at IS NULL") == [(digest_of("two"),)]
    assert store.one("SELECT count(*) FROM versions") == 2


# -- copies ----------------------------------------------------------------------------------------------------


def test_too_few_receipts_name_the_chunks(store: Store) -> None:
    """Nothing of the file is written."""
    file = file_commit("/f", "one", "two")
    given = [*receipts(file, (1,)), receipt(2, digest_of("one"))]
    outcome = commit_with(store, file, *given)
    assert (outcome.code, outcome.details) == ("chunks_missing", {"digests": [digest_of("two")], "copies": 2})
    assert store.one("SELECT count(*) FROM chunks") == 0
    assert store.paths() == {}


def test_one_node_counts_once(store: Store) -> None:
    """Two receipts of one node, or its known copy and a receipt, are one copy."""
    file = file_commit("/f", "one")
    assert commit_with(store, file, *receipts(file, (1, 1))).code == "chunks_missing"
    store.do(set_policy("/", 1))
    assert commit_with(store, file, *receipts(file, (1,))).code == ""
    store.do(set_policy("/", 0))
    assert commit_with(store, file, *receipts(file, (1,))).code == "chunks_missing"
    assert commit_with(store, file, *receipts(file, (2,))).code == ""


def test_known_copies_need_no_receipts(store: Store) -> None:
    """Dedup: a chunk that is stored is not uploaded again."""
    store.commit("/f", "one")
    assert store.commit("/g", "one", nodes=()).code == ""
    assert store.one("SELECT count(*) FROM replicas") == 2


@pytest.mark.parametrize("standing", [Standing(copies_count=False), None])
def test_copies_on_nodes_that_do_not_count_do_not_count(store: Store, standing: Standing | None) -> None:
    """Suspect, dead, failed or unknown: its known copies are no copies, a new receipt of a suspect one is."""
    store.commit("/f", "one")
    if standing is None:
        del store.standings[2]
    else:
        store.standings[2] = standing
    assert store.commit("/g", "one", nodes=()).code == "chunks_missing"
    assert store.commit("/g", "one", nodes=(3,)).code == ""


def test_receipts_of_failed_and_unknown_nodes_are_not_believed(store: Store) -> None:
    """A volume that failed acknowledges nothing."""
    store.standings[2] = Standing(receipts_count=False)
    assert store.commit("/f", "one", nodes=(1, 2)).code == "chunks_missing"
    assert store.commit("/f", "one", nodes=(1, 99)).code == "chunks_missing"
    store.standings[2] = Standing(copies_count=False)
    assert store.commit("/f", "one", nodes=(1, 2)).code == ""


def test_the_nearest_policy_holds(store: Store) -> None:
    """The directory's own, else an ancestor's, else the cluster's."""
    store.do(make_directories("/three/below", "/three/one"))
    store.run(set_policy("/three", 3), set_policy("/three/one", 1))
    assert store.commit("/three/below/deep/f", "a", nodes=(1, 2)).code == "chunks_missing"
    assert store.commit("/three/below/deep/f", "a", nodes=(1, 2, 3)).code == ""
    assert store.commit("/three/one/f", "b", nodes=(1,)).code == ""
    assert store.commit("/f", "c", nodes=(1,)).code == "chunks_missing"


def test_copies_wanted_only_grows(store: Store) -> None:
    """A chunk is wanted as often as the most demanding of its versions asks for."""
    store.do(make_directories("/one", "/three"))
    store.run(set_policy("/one", 1), set_policy("/three", 3))
    store.commit("/three/f", "a", nodes=(1, 2, 3))
    store.commit("/one/f", "a", nodes=())
    assert store.query("SELECT copies_wanted, copies_good FROM chunks") == [(3, 3)]


def test_a_chunk_that_is_referred_to_again_is_not_unreferenced(store: Store) -> None:
    """The collector must let go of it."""
    store.commit("/f", "a")
    store.execute("UPDATE chunks SET unreferenced_since = 5")
    store.commit("/g", "a")
    assert store.one("SELECT unreferenced_since FROM chunks") is None


# -- generations -----------------------------------------------------------------------------------------------


def test_a_chunk_that_is_being_deleted_has_no_copies(store: Store) -> None:
    """Receipts of before count for nothing; with newer ones it is stored again, and what goes goes on going."""
    store.commit("/f", "a", nodes=(1, 2, 3))
    store.execute("UPDATE chunks SET state = 'deleting', copies_good = 0")
    store.execute("UPDATE replicas SET state = 'deleting', generation = 5")
    file = file_commit("/g", "a")
    old = [receipt(node, digest_of("a"), generation=5) for node in (1, 2, 3)]
    assert commit_with(store, file, *old).code == "chunks_missing"
    new = [receipt(node, digest_of("a"), generation=6) for node in (1, 2)]
    assert commit_with(store, file, new[0]).code == "chunks_missing"
    assert commit_with(store, file, *new).code == ""
    assert store.one("SELECT state FROM chunks") == "stored"
    assert store.query("SELECT node_id, state FROM replicas ORDER BY node_id") == [
        (1, "good"),
        (2, "good"),
        (3, "deleting"),
    ]


def test_receipts_at_or_below_a_deletion_are_refused(store: Store) -> None:
    """A delete of generation 5 is on its way to node 2: only a file of generation 6 outlives it."""
    store.commit("/f", "a")
    store.execute("UPDATE replicas SET state = 'deleting', generation = 5 WHERE node_id = 2")
    file = file_commit("/g", "a")
    late = 10**12
    refused = receipt(2, digest_of("a"), generation=5, stored_at_ms=late)
    assert commit_with(store, file, refused).code == "chunks_missing"
    assert commit_with(store, file, receipt(2, digest_of("a"), generation=6)).code == ""
    assert store.query("SELECT generation, state FROM replicas WHERE node_id = 2") == [(6, "good")]


def test_a_bad_finding_outweighs_older_receipts(store: Store) -> None:
    """A copy found bad is good again only by a later store, or a newer generation."""
    store.commit("/f", "a")
    store.do(RecordFindings(2, [Finding(digest_of("a"), 1, FindingKind.CORRUPT)]))
    found_at = store.clock.wall_ms()
    file = file_commit("/g", "a")
    assert commit_with(store, file, receipt(2, digest_of("a"), stored_at_ms=found_at)).code == "chunks_missing"
    assert commit_with(store, file, receipt(2, digest_of("a"), stored_at_ms=found_at + 1)).code == ""
    assert store.query("SELECT generation, state, verified_at FROM replicas WHERE node_id = 2") == [
        (1, "good", found_at + 1)
    ]
    store.do(RecordFindings(2, [Finding(digest_of("a"), 1, FindingKind.MISSING)]))
    assert commit_with(store, file, receipt(2, digest_of("a"), generation=2)).code == ""
    assert store.one("SELECT copies_good FROM chunks") == 2


def test_a_receipt_never_takes_a_replica_back(store: Store) -> None:
    """An older receipt of a good copy changes nothing, a newer one moves it on."""
    store.do(commit_files(file_commit("/f", "a"), generation=7, stored_at_ms=500))
    store.do(commit_files(file_commit("/g", "a"), generation=3, stored_at_ms=400))
    assert store.query("SELECT DISTINCT generation, stored_at, verified_at FROM replicas") == [(7, 500, 500)]
    store.do(commit_files(file_commit("/h", "a"), generation=9, stored_at_ms=600))
    assert store.query("SELECT DISTINCT generation, stored_at, verified_at FROM replicas") == [(9, 600, 600)]


# -- what makes no sense ---------------------------------------------------------------------------------------

_A = digest_of("a")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"path": "relative/../x"}, "name '..'"),
        ({"path": "/" + "x" * 256}, "255 bytes"),
        ({"digest": b"short"}, "has 5 bytes"),
        ({"mtime_ns": 2**63}, "out of range"),
        ({"size": 7}, "hold 1000 bytes, not 7"),
        ({"extents": [], "size": 1}, "hold 0 bytes"),
        ({"extents": [Extent(b"x", 1, 0, 1)], "size": 1}, "chunk digest"),
        ({"extents": [Extent(_A, 0, 0, 1)], "size": 1}, "has 1 to"),
        ({"extents": [Extent(_A, CHUNK_BYTES_MAX + 1, 0, 1)], "size": 1}, "has 1 to"),
        ({"extents": [Extent(_A, 10, -1, 5)], "size": 5}, "outside"),
        ({"extents": [Extent(_A, 10, 0, 0)], "size": 0}, "outside"),
        ({"extents": [Extent(_A, 10, 6, 5)], "size": 5}, "outside"),
        ({"extents": [Extent(_A, 10, 0, 5), Extent(_A, 11, 0, 5)], "size": 10}, "two sizes"),
        ({"extents": [Extent(_A, 1, 0, 1)] * (EXTENTS_MAX + 1), "size": EXTENTS_MAX + 1}, "larger chunks"),
    ],
)
def test_files_that_contradict_themselves_are_refused(store: Store, changes: dict[str, object], reason: str) -> None:
    """With the reason, and without a trace."""
    outcome = store.do(CommitFiles(request_id(), [msgspec.structs.replace(file_commit("/f", "a"), **changes)]))[0]
    assert outcome.code == "usage"
    assert reason in outcome.message
    assert store.paths() == {}


def test_a_chunk_has_one_size(store: Store) -> None:
    """What is known of it, or what a receipt says, cannot be contradicted."""
    store.commit("/f", "a")
    liar = file_commit("/g", extents=[Extent(_A, 999, 0, 999)], size=999)
    assert commit_with(store, liar).code == "usage"
    fresh = file_commit("/g", extents=[Extent(digest_of("b"), 999, 0, 999)], size=999)
    assert commit_with(store, fresh, receipt(1, digest_of("b")), receipt(2, digest_of("b"))).code == "usage"


@pytest.mark.parametrize("field", ["generation", "stored_at_ms"])
def test_numbers_beyond_the_database_are_refused(store: Store, field: str) -> None:
    """They would fail in the middle of a statement for the whole group."""
    wrong = msgspec.structs.replace(receipt(1, _A), **{field: 2**63})
    with pytest.raises(UsageError, match="out of range"):
        commit_with(store, file_commit("/f", "a"), wrong)


def test_the_row_count_follows_the_request() -> None:
    """A group is bounded by what its requests say."""
    assert commit_files(file_commit("/f", "a", "b"), file_commit("/g", "c")).row_count() == 1 + 6 + 4 + 6


# -- packs -----------------------------------------------------------------------------------------------------


def in_pack(path: str, *, size: int = 3 * CHUNK_SIZE) -> FileCommit:
    """A file that is a slice of the chunk `pack`."""
    extents = [Extent(digest_of("pack"), size, CHUNK_SIZE, CHUNK_SIZE)]
    return FileCommit(path, -1, CHUNK_SIZE, digest_of(path), 0, 0o644, extents)


def pack_receipts(*nodes: int, size: int = 3 * CHUNK_SIZE) -> list[Receipt]:
    """What these nodes said of it."""
    return [msgspec.structs.replace(receipt(node, digest_of("pack")), size=size) for node in nodes]


def test_files_of_a_pack_share_one_chunk(store: Store) -> None:
    """One row of it and of each copy, though each file is judged on its own."""
    files = [in_pack(f"/d/{number}") for number in range(50)]
    outcomes = store.do(CommitFiles(request_id(), files, pack_receipts(1, 2)))
    assert [outcome.code for outcome in outcomes] == [""] * 50
    assert store.query("SELECT size, copies_wanted, copies_good FROM chunks") == [(3 * CHUNK_SIZE, 2, 2)]
    assert store.query("SELECT node_id FROM replicas ORDER BY 1") == [(1,), (2,)]
    assert store.query('SELECT DISTINCT "offset", length FROM extents') == [(CHUNK_SIZE, CHUNK_SIZE)]
    assert store.one("SELECT count(*) FROM extents") == 50


def test_each_file_of_a_pack_is_held_to_its_own_policy(store: Store) -> None:
    """One that asks for more copies is refused alone; with the further receipt the chunk is wanted so often."""
    store.do(make_directories("/safe"))
    store.do(set_policy("/safe", 3))
    files = [in_pack("/a"), in_pack("/safe/b"), in_pack("/c")]
    outcomes = store.do(CommitFiles(request_id(), files, pack_receipts(1, 2)))
    assert [outcome.code for outcome in outcomes] == ["", "chunks_missing", ""]
    assert outcomes[1].details["copies"] == 3
    outcomes = store.do(CommitFiles(request_id(), files, pack_receipts(1, 2, 3)))
    assert [outcome.code for outcome in outcomes] == [""] * 3
    assert store.query("SELECT copies_wanted, copies_good FROM chunks") == [(3, 3)]


def test_a_pack_with_another_size_is_refused_where_it_is_named_so(store: Store) -> None:
    """What an earlier file of the request made of the chunk does not excuse a later one."""
    files = [in_pack("/a"), in_pack("/b", size=4 * CHUNK_SIZE), in_pack("/c")]
    outcomes = store.do(CommitFiles(request_id(), files, pack_receipts(1, 2)))
    assert [outcome.code for outcome in outcomes] == ["", "usage", ""]


def test_a_file_that_is_undone_takes_its_pack_back_along(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next file of the pack does not rely on what is no longer staged: the chunk is written all the same."""
    point_entry = files_module._point_entry

    def refuse_one(context: Context, place: Place, entry_id: int, version_id: int) -> None:
        if place.name == "refused":
            raise ConflictError("at the last moment")
        point_entry(context, place, entry_id, version_id)

    monkeypatch.setattr(files_module, "_point_entry", refuse_one)
    files = [in_pack("/refused"), in_pack("/a"), in_pack("/b")]
    outcomes = store.do(CommitFiles(request_id(), files, pack_receipts(1, 2)))
    assert [outcome.code for outcome in outcomes] == ["conflict", "", ""]
    assert store.query("SELECT copies_wanted, copies_good FROM chunks") == [(2, 2)]
    assert store.one("SELECT count(*) FROM extents e JOIN chunks c ON c.id = e.chunk_id") == 2
    assert store.one("SELECT count(*) FROM replicas") == 2
