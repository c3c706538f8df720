"""Waiting for company: who was answered just now is waited for, and not for long where nobody comes."""

import threading
from pathlib import Path

import pytest
from tests.support.writing import commit_files, file_commit, open_store

from dfs_master.catalog import committer
from dfs_master.catalog.gathering import Gathering


def test_two_halves_become_one_group() -> None:
    """Four are answered while four wait: the next group is worth waiting for eight."""
    gathering = Gathering()
    assert gathering.wanted(4) == 4
    gathering.answering(4, 4)
    assert gathering.wanted(5) == 8
    gathering.waited(5, 8, 8)
    gathering.answering(8, 0)
    assert gathering.wanted(1) == 8
    assert gathering.wanted(8) == 8


def test_one_client_alone_never_waits() -> None:
    """Its next request comes when this one is answered: there is nobody to wait for but itself."""
    gathering = Gathering()
    for _ in range(3):
        gathering.answering(1, 0)
        assert gathering.wanted(1) == 1


def test_what_failed_is_tried_less_and_less_often() -> None:
    """1, 2, 4 … groups without a wait, at most 64; company that comes ends that."""
    gathering = Gathering()
    tries = []
    for number in range(300):
        gathering.answering(4, 4)
        wanted = gathering.wanted(4)
        if wanted > 4:
            tries.append(number)
            gathering.waited(4, 5, wanted)
    assert tries[:5] == [0, 2, 5, 10, 19]
    assert tries[-1] - tries[-2] == 65
    while gathering.wanted(4) == 4:
        pass
    gathering.waited(4, 7, 8)
    assert gathering.wanted(4) == 8


def test_clients_in_step_share_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a generous wait, eight clients of one request each need about one transaction for eight of them."""
    monkeypatch.setattr(committer, "GATHER_SECONDS", 2.0)
    with open_store(tmp_path) as store:
        before = store.committer.commit_seq
        store.committer.start()
        done = threading.Semaphore(0)

        def client(number: int, left: int) -> None:
            def answered(_: object) -> None:
                if left:
                    client(number, left - 1)
                else:
                    done.release()

            store.committer.submit(commit_files(file_commit(f"/{number}/{left}", "x")), answered)

        for number in range(8):
            client(number, 24)
        for _ in range(8):
            assert done.acquire(timeout=60)
        assert store.one("SELECT count(*) FROM entries WHERE kind = 'file'") == 200
        assert store.committer.commit_seq - before <= 60
