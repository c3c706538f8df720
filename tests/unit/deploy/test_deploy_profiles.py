"""The client profiles of clusters."""

from pathlib import Path

from tests.support.deploy import CREDENTIALS, make_spec

from dfs_client.profile import current_profile, profile_path, read_profile
from dfs_deploy.profiles import ProfileBook, profile_of, shared_profile
from dfs_wire.messages import AddressSet


def test_a_profile_is_current_when_it_says_what_the_cluster_says(tmp_path: Path) -> None:
    """A lost, damaged or outdated one is not."""
    book = ProfileBook(tmp_path)
    assert not book.exists("demo")
    assert not book.is_current(make_spec(), CREDENTIALS)
    book.write(make_spec(), CREDENTIALS)
    assert book.exists("demo")
    assert book.is_current(make_spec(), CREDENTIALS)
    assert not book.is_current(make_spec(master_port=6000), CREDENTIALS)
    profile_path("demo", tmp_path).write_text("name = ")
    assert not book.is_current(make_spec(), CREDENTIALS)


def test_no_other_profile_takes_the_place_of_a_removed_one(tmp_path: Path) -> None:
    """The same command again must not mean another cluster."""
    book = ProfileBook(tmp_path)
    for name in ("a", "b"):
        book.write(make_spec(name), CREDENTIALS)
    book.choose("b")
    book.remove("b")
    book.remove("b")
    assert current_profile(home=tmp_path) == "b"
    assert not book.exists("b")


def test_a_shared_profile_has_the_outside_address_and_no_admin_key() -> None:
    """Behind a wildcard, this machine itself uses the inside addresses."""
    spec = make_spec(listen="0.0.0.0", public_host="box")  # noqa: S104 - not listened on
    own, shared = profile_of(spec, CREDENTIALS), shared_profile(spec, CREDENTIALS)
    assert (own.master, own.address_set, own.admin_key) == ("127.0.0.1:5000", AddressSet.CLUSTER, "bb")
    assert (shared.master, shared.address_set, shared.admin_key) == ("box:5000", AddressSet.PUBLIC, None)


def test_a_written_profile_reads_back(tmp_path: Path) -> None:
    """By the client's own reader."""
    ProfileBook(tmp_path).write(make_spec(), CREDENTIALS)
    assert read_profile("demo", home=tmp_path) == profile_of(make_spec(), CREDENTIALS)
