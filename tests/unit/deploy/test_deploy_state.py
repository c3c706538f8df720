"""Where clusters lie."""

import errno
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
from tests.support.deploy import CREDENTIALS, make_spec

from dfs_deploy.state import StateStore
from dfs_runtime.clock import ManualClock, SystemClock
from dfs_wire.errors import ConflictError, NotFoundError, SchemaError, UsageError


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    """A home without clusters."""
    return StateStore(tmp_path, ManualClock())


def test_a_saved_cluster_is_found_again(store: StateStore, tmp_path: Path) -> None:
    """By its name, in its directory, for its owner alone."""
    assert store.names() == []
    store.save(make_spec())
    assert store.names() == ["demo"]
    assert store.load("demo") == make_spec()
    root = tmp_path / "clusters" / "demo"
    assert root.stat().st_mode & 0o777 == 0o700
    assert (root / "cluster.toml").stat().st_mode & 0o777 == 0o600


def test_a_cluster_that_is_not_there(store: StateStore) -> None:
    """Found as None, loaded as an error, forgotten without one."""
    assert store.find("demo") is None
    with pytest.raises(NotFoundError, match="dfs list"):
        store.load("demo")
    store.forget("demo")
    with pytest.raises(UsageError):
        store.paths("../demo")


def test_keys_are_kept_for_the_owner_alone_and_never_shown(store: StateStore, tmp_path: Path) -> None:
    """Mode 0600 from the first moment, and no key in a repr."""
    store.save(make_spec())
    store.save_credentials("demo", CREDENTIALS)
    assert store.credentials("demo") == CREDENTIALS
    assert store.paths("demo").credentials.stat().st_mode & 0o777 == 0o600
    assert "aa" not in repr(CREDENTIALS)
    assert "bb" not in repr(CREDENTIALS)


def test_lost_or_damaged_files_are_named(store: StateStore) -> None:
    """Neither ends in a traceback."""
    with pytest.raises(SchemaError, match=r"credentials\.json"):
        store.credentials("demo")
    store.save(make_spec())
    store.paths("demo").spec.write_bytes(b"\xff\xfe")
    with pytest.raises(SchemaError, match="damaged"):
        store.load("demo")


def test_forgetting_deletes_everything(store: StateStore, tmp_path: Path) -> None:
    """Data too."""
    store.save(make_spec())
    (store.paths("demo").volume("node-1")).mkdir(parents=True)
    store.forget("demo")
    assert not (tmp_path / "clusters" / "demo").exists()
    assert store.names() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_keeps_nobody_from_deleting(
    store: StateStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It cannot be marked there that the cluster is no more; a read-only disk is another matter."""
    store.save(make_spec())

    def fails(*_: object) -> None:
        raise OSError(number, "cannot be written")

    with monkeypatch.context() as full:
        full.setattr("dfs_deploy.state.write_secret", fails)
        with nullcontext() if number == errno.ENOSPC else pytest.raises(OSError, match="cannot be written"):
            store.mark_destroyed(make_spec())
    assert not store.load("demo").destroyed
    store.mark_destroyed(make_spec())
    assert store.load("demo").destroyed


def test_a_second_command_waits_for_the_first_and_gives_up_in_the_end(tmp_path: Path) -> None:
    """Two commands never work on one cluster at once; the second is told why."""
    first, second = StateStore(tmp_path, ManualClock()), StateStore(tmp_path, ManualClock())
    with first.locked("demo"):
        with pytest.raises(ConflictError, match="Another dfs command"), second.locked("demo"):
            pass
        with second.locked("other"):
            pass
    with second.locked("demo"):
        pass


def test_a_second_command_goes_on_when_the_first_ends(tmp_path: Path) -> None:
    """It waits instead of failing: two deploys at once both succeed."""
    store = StateStore(tmp_path, SystemClock())
    entered = threading.Event()

    def second() -> None:
        with StateStore(tmp_path, SystemClock()).locked("demo"):
            entered.set()

    waiter = threading.Thread(target=second)
    with store.locked("demo"):
        waiter.start()
        assert not entered.wait(0.2)
    assert entered.wait(10)
    waiter.join()
