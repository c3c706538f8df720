"""Profiles and what wins over them."""

import stat
from pathlib import Path

import pytest

from dfs_client.profile import (
    Profile,
    current_profile,
    format_profile,
    parse_profile,
    profile_names,
    profile_path,
    read_profile,
    remove_profile,
    resolve,
    set_current_profile,
    write_profile,
)
from dfs_wire.errors import NotFoundError, UsageError
from dfs_wire.messages import AddressSet

DEMO = Profile("demo", "127.0.0.1:5000", "c1", "aa" * 32, "bb" * 32)
OTHER = Profile("other", "10.0.0.1:6000", "c2", "cc" * 32, None, AddressSet.CLUSTER)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two profiles, `demo` is the current one."""
    write_profile(DEMO, home=tmp_path, make_current=True)
    write_profile(OTHER, home=tmp_path)
    return tmp_path


@pytest.mark.parametrize("profile", [DEMO, OTHER])
def test_a_profile_comes_back_as_it_was_written(home: Path, profile: Profile) -> None:
    """With and without an admin key; as a file, and as exported text."""
    assert read_profile(profile.name, home=home) == profile
    assert parse_profile(format_profile(profile), "text") == profile


def test_a_profile_is_secret(home: Path) -> None:
    """Only its owner may read it, and its text form shows no key."""
    assert stat.S_IMODE(profile_path("demo", home).stat().st_mode) == 0o600
    assert "aa" * 4 not in repr(DEMO)
    assert "aaaa" not in repr(resolve(home=home, environ={}))


def test_the_current_profile_is_the_default(home: Path) -> None:
    """Without flag and environment, the cluster deployed last is meant."""
    assert resolve(home=home, environ={}).master == DEMO.master
    set_current_profile("other", home=home)
    assert resolve(home=home, environ={}).address_set is AddressSet.CLUSTER


def test_a_flag_wins_over_the_environment_and_that_over_the_profile(home: Path) -> None:
    """Field by field."""
    environ = {"DFS_MASTER": "env:1", "DFS_KEY": "ee" * 32, "DFS_PROFILE": "other"}
    assert resolve(home=home, environ={"DFS_PROFILE": "other"}).master == OTHER.master
    assert resolve("demo", home=home, environ=environ).master == DEMO.master
    assert resolve(home=home, environ=environ).master == "env:1"
    assert resolve(master="flag:1", home=home, environ=environ).master == "flag:1"
    assert resolve(master="flag:1", home=home, environ=environ).key == bytes.fromhex("ee" * 32)
    assert resolve(home=home, environ={"DFS_MASTER": "env:1"}).key == bytes.fromhex(DEMO.client_key)
    assert resolve("other", master="flag:1", home=home, environ={}).key == bytes.fromhex(OTHER.client_key)
    assert resolve("other", key="ff" * 32, home=home, environ={}).key == bytes.fromhex("ff" * 32)


def test_address_and_key_need_no_profile(tmp_path: Path) -> None:
    """A machine without any state reaches a cluster by two variables."""
    found = resolve(home=tmp_path, environ={"DFS_MASTER": "h:1", "DFS_KEY": "00ff"})
    assert (found.master, found.key, found.admin_key, found.key_given) == ("h:1", b"\x00\xff", None, True)
    assert resolve(key=b"k", home=tmp_path, environ={}).master == "127.0.0.1:5000"


def test_nothing_known_says_what_to_do(tmp_path: Path) -> None:
    """No cluster, or a name that does not exist."""
    with pytest.raises(NotFoundError, match="dfs deploy"):
        resolve(home=tmp_path, environ={})
    with pytest.raises(NotFoundError, match="known: none"):
        resolve("demo", home=tmp_path, environ={})


@pytest.mark.parametrize("address", ["", "host", "host:", ":5000", "host:0", "host:65536", "host:a", "host:٣"])
def test_a_malformed_address_is_refused(tmp_path: Path, address: str) -> None:
    """Before anybody dials it."""
    environ = {"DFS_MASTER": address or "x", "DFS_KEY": "00"}
    with pytest.raises(UsageError):
        resolve(home=tmp_path, environ=environ)


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        'name = "x"',
        'name = 5\nmaster = "h:1"\ncluster_id = "c"\nclient_key = "00"',
        'name = "../x"\nmaster = "h:1"\ncluster_id = "c"\nclient_key = "00"',
        'name = "x"\nmaster = "h:1"\ncluster_id = "c"\nclient_key = "secret"',
        'name = "x"\nmaster = "h:1"\ncluster_id = "c"\nclient_key = ""',
        'name = "x"\nmaster = "h:1"\ncluster_id = "c"\nclient_key = "00"\nadmin_key = "secret"',
        'name = "x"\nmaster = "h:1"\ncluster_id = "c"\nclient_key = "00"\naddress_set = "none"',
    ],
)
def test_a_damaged_profile_is_refused_without_showing_keys(text: str) -> None:
    """The message names the file and the field."""
    with pytest.raises(UsageError) as caught:
        parse_profile(text, "there")
    assert "there" in str(caught.value) or "name a profile" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "x" * 65, "ü"])
def test_a_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    """Names that would leave the directory are refused."""
    with pytest.raises(UsageError):
        profile_path(name, tmp_path)


def test_a_removed_profile_leaves_nobody_in_its_place(home: Path) -> None:
    """Twice is no error; who names none is told that it is gone, although another one is there."""
    remove_profile("demo", home=home)
    remove_profile("demo", home=home)
    assert profile_names(home=home) == ["other"]
    assert current_profile(home=home) == "demo"
    with pytest.raises(NotFoundError, match=r"no profile 'demo' \(known: other\)"):
        resolve(home=home, environ={})
