"""Keys, credentials, generations: what a master knows its peers by, and what orders everything that it gives out."""

import stat
from itertools import pairwise
from pathlib import Path

import pytest

from dfs_master.credentials import KEY_BYTES, Credentials, key_digest, make_key
from dfs_master.generations import COUNTER_BITS, Generations
from dfs_master.keys import KEY_FILE, NodeKeys, load_master_key, make_master_key
from dfs_wire.errors import NotFoundError, SchemaError
from dfs_wire.messages import Role
from dfs_wire.tickets import derive_node_key


def test_a_key_opens_its_role_only() -> None:
    """By its digest; an unknown, an empty and a cut key open nothing, nor does a digest itself."""
    client, admin = make_key(), make_key()
    credentials = Credentials([("client", key_digest(client)), ("admin", key_digest(admin))])
    assert credentials.role_of(client) is Role.CLIENT
    assert credentials.role_of(admin) is Role.ADMIN
    for wrong in (b"", client[:-1], client + b"\0", make_key(), key_digest(client)):
        assert credentials.role_of(wrong) is None
    assert credentials.digests_of(Role.CLIENT) == [key_digest(client)]
    assert credentials.digests_of(Role.JOIN) == []


def test_keys_are_random_256_bit() -> None:
    """No two alike."""
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {KEY_BYTES}


def test_the_master_key_is_kept_in_a_file_of_the_owner(tmp_path: Path) -> None:
    """Readable by nobody else, and the same when read back."""
    key = make_master_key(tmp_path)
    assert load_master_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "no hex", "ab" * 31, "ab" * 33])
def test_a_damaged_master_key(tmp_path: Path, content: str) -> None:
    """Refused with what to do, never used as far as it goes."""
    (tmp_path / KEY_FILE).write_text(content)
    with pytest.raises(SchemaError, match="bring it back from your backup"):
        load_master_key(tmp_path)


def test_a_missing_master_key(tmp_path: Path) -> None:
    """Never silently made anew: nodes would trust nothing that is signed with it."""
    with pytest.raises(NotFoundError, match="backup"):
        load_master_key(tmp_path)


def test_node_keys_are_derived_and_not_hoarded() -> None:
    """Any number of invented node ids costs no lasting memory; a key derived again is the same."""
    keys = NodeKeys(bytes(32), "cluster")
    for node_id in range(20_000):
        keys.of(node_id)
    assert keys.of(7) == derive_node_key(bytes(32), "cluster", 7)
    assert keys._derived.cache_info().currsize <= 4_096
    for odd in (-1, 2**63 - 1, 2**64 - 1):
        assert len(keys.of(odd)) == KEY_BYTES


def test_generations_rise_over_epochs() -> None:
    """Each is above all before it, within a term and from term to term; all fit a signed 64-bit integer."""
    given = []
    for epoch in (1, 2, 3, 2**23 - 1):
        generations = Generations(epoch)
        given += [generations.next() for _ in range(1_000)]
    assert all(earlier < later for earlier, later in pairwise(given))
    assert given[-1] < 2**63
    assert given[0] >> COUNTER_BITS == 1
