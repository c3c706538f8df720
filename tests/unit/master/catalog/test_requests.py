"""Each mutation of a client counts once, however often it arrives."""

import pytest
from tests.support.writing import (
    Store,
    commit_files,
    file_commit,
    make_directories,
    remove,
    rename,
    set_policy,
)

from dfs_master.catalog.mutations.base import ClientMutation
from dfs_master.catalog.mutations.files import CommitFiles
from dfs_master.catalog.mutations.tree import Remove
from dfs_wire.errors import NotFoundError, UsageError
from dfs_wire.messages import EXPECT_ABSENT


@pytest.mark.parametrize("in_one_group", [True, False])
def test_a_repeated_commit_makes_one_version(store: Store, in_one_group: bool) -> None:
    """The lost answer is given again, though the name is not absent any more."""
    mutation = commit_files(file_commit("/f", "a", expect=EXPECT_ABSENT))
    first, second = store.run(mutation, mutation) if in_one_group else [store.do(mutation), store.do(mutation)]
    assert first == second
    assert first[0].code == ""
    assert store.one("SELECT count(*) FROM versions") == 1


def test_a_repeat_never_clobbers_a_newer_version(store: Store) -> None:
    """Somebody else wrote in between: the repeat changes nothing."""
    mutation = commit_files(file_commit("/f", "old"))
    store.do(mutation)
    newer = store.commit("/f", "new").version
    store.do(mutation)
    assert store.one("SELECT version_id FROM entries WHERE kind = 'file'") == newer


@pytest.mark.parametrize(
    "mutation",
    [make_directories("/d", exist_ok=False), remove("/f"), rename("/f", "/g"), set_policy("/", 3)],
    ids=lambda mutation: type(mutation).__name__,
)
def test_every_kind_of_mutation_is_answered_again(store: Store, mutation: ClientMutation[object]) -> None:
    """With the first outcome, although none of them could be done a second time."""
    store.commit("/f", "a")
    first = store.do(mutation)
    paths = store.paths()
    assert store.do(mutation) == first
    assert store.paths() == paths


def test_a_refusal_is_judged_anew(store: Store) -> None:
    """It changed nothing, and what stood in its way may be gone."""
    mutation = remove("/f")
    with pytest.raises(NotFoundError):
        store.do(mutation)
    assert store.one("SELECT count(*) FROM requests") == 0
    store.commit("/f", "a")
    assert store.do(mutation) is None


def test_a_commit_of_which_nothing_was_written_is_judged_anew(store: Store) -> None:
    """One of which something was written is not: its outcomes are on record."""
    alone = commit_files(file_commit("/f", "a"), nodes=())
    assert store.do(alone)[0].code == "chunks_missing"
    with_another = CommitFiles(
        commit_files(file_commit("/x")).request_id, [file_commit("/f", "a"), file_commit("/empty")]
    )
    first = store.do(with_another)
    assert [outcome.code for outcome in first] == ["chunks_missing", ""]
    store.commit("/other", "a")
    assert store.do(alone)[0].code == ""
    assert store.do(with_another) == first


def test_directories_of_which_none_was_made_are_judged_anew(store: Store) -> None:
    """The same rule for lists of directories."""
    store.do(make_directories("/d"))
    mutation = make_directories("/d", exist_ok=False)
    assert store.do(mutation)[0].code == "exists"
    store.do(remove("/d"))
    assert store.do(mutation)[0].code == ""


def test_a_request_id_names_one_request(store: Store) -> None:
    """For another kind of request it is refused."""
    mutation = make_directories("/d")
    store.do(mutation)
    with pytest.raises(UsageError, match="MakeDirectories"):
        store.do(Remove(mutation.request_id, "/d"))


@pytest.mark.parametrize("request_id", [b"", b"short", b"x" * 17])
def test_a_malformed_request_id_is_refused(store: Store, request_id: bytes) -> None:
    """No client mutation goes without."""
    store.commit("/f")
    with pytest.raises(UsageError, match="16 bytes"):
        store.do(Remove(request_id, "/f"))


def test_outcomes_survive_the_committer(store: Store) -> None:
    """They are in the database, at the time of their transaction."""
    mutation = commit_files(file_commit("/f", "a"))
    store.do(mutation)
    assert store.query("SELECT id, at FROM requests") == [(mutation.request_id, store.clock.wall_ms())]


def test_a_repeat_spoils_no_other_request(store: Store) -> None:
    """Its group is taken one by one: the others are done, and it gets the answer of before."""
    done = commit_files(file_commit("/f", "a"))
    first = store.do(done)
    new, missing, answered = store.run(make_directories("/new"), remove("/missing"), done)
    assert new[0].code == ""
    assert isinstance(missing, NotFoundError)
    assert answered == first
    assert set(store.paths()) == {"/f", "/new"}
    assert store.one("SELECT count(*) FROM versions") == 1


def test_a_repeat_of_which_nothing_could_be_done_any_more_is_answered_as_before(store: Store) -> None:
    """A commit that was done in part, where all its files would be refused by now."""
    files = (file_commit("/f", "a", expect=EXPECT_ABSENT), file_commit("/d", "a", expect=EXPECT_ABSENT))
    store.do(make_directories("/d"))
    mutation = commit_files(*files)
    first = store.do(mutation)
    assert [bool(outcome.code) for outcome in first] == [False, True]
    assert store.do(mutation) == first
    assert store.one("SELECT count(*) FROM versions") == 1


def test_what_a_repeat_staged_before_it_was_known_is_undone(store: Store) -> None:
    """Directories above a refused file must not stay behind."""
    mutation = rename("/f", "/g")
    store.commit("/f", "a")
    store.do(mutation)
    store.do(make_directories("/f"))
    before = store.paths()
    store.do(mutation)
    assert store.paths() == before
