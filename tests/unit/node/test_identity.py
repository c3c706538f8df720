"""Who a volume is: claims, the identity file, and the command around them."""

import stat
from pathlib import Path

import pytest

from dfs_node.config import NodeConfig, read_join_token
from dfs_node.identity import (
    FORMAT,
    Claim,
    Identity,
    claim_volume,
    decode_identity,
    encode_identity,
    load_identity,
    make_volume_directory,
)
from dfs_wire.errors import CorruptError, UsageError, VolumeFailedError, VolumeForeignError

JOIN = Claim(may_join=True)
SERVE = Claim(may_join=False)


def joined(path: Path, node_id: int = 3) -> None:
    """Make a volume of a node."""
    claim_volume(path, JOIN).join(cluster_id="c", node_id=node_id, node_key=b"k" * 32)


def test_a_new_volume_needs_a_token(tmp_path: Path) -> None:
    """Without one, nothing is made: not even the directory."""
    path = tmp_path / "new"
    with pytest.raises(VolumeForeignError, match="holds no volume"):
        make_volume_directory(path, SERVE)
    assert not path.exists()
    make_volume_directory(path, JOIN)
    assert path.is_dir()
    assert not claim_volume(path, JOIN).current.joined


def test_a_joined_volume_needs_no_token(tmp_path: Path) -> None:
    """Its identity is enough."""
    joined(tmp_path)
    assert claim_volume(tmp_path, SERVE).current.node_id == 3


def test_an_interrupted_join_goes_on(tmp_path: Path) -> None:
    """A volume that was initialised and never joined is taken up again, with a token."""
    claim_volume(tmp_path, JOIN)
    claim_volume(tmp_path, JOIN)
    with pytest.raises(VolumeForeignError):
        claim_volume(tmp_path, SERVE)


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    """A new node wants an empty directory; the lock and `lost+found` do not count."""
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lock").touch()
    claim = Claim(may_join=True)
    (tmp_path / "photos").mkdir()
    with pytest.raises(VolumeForeignError, match="other files"):
        claim_volume(tmp_path, claim)
    (tmp_path / "photos").rmdir()
    claim_volume(tmp_path, claim)


@pytest.mark.parametrize("may_join", [False, True])
def test_a_forgotten_mount_becomes_no_volume(tmp_path: Path, may_join: bool) -> None:
    """Where a node was expected, an empty directory is refused even with a token."""
    with pytest.raises(VolumeForeignError, match="mount"):
        make_volume_directory(tmp_path / "absent", Claim(may_join=may_join, expected_node=3))
    assert not (tmp_path / "absent").exists()


def test_another_nodes_volume_is_refused(tmp_path: Path) -> None:
    """The right node's is taken."""
    joined(tmp_path, 3)
    with pytest.raises(VolumeForeignError, match="node 4 was expected"):
        claim_volume(tmp_path, Claim(may_join=False, expected_node=4))
    claim_volume(tmp_path, Claim(may_join=False, expected_node=3))


def test_the_file_is_secret_and_checked(tmp_path: Path) -> None:
    """Readable by its owner alone; any altered byte is damage, and no new identity is made in its place."""
    joined(tmp_path)
    path = tmp_path / "identity"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    good = path.read_bytes()
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1
        with pytest.raises(CorruptError):
            decode_identity(bytes(bad), path)
    path.write_bytes(good[:-1])
    with pytest.raises(CorruptError):
        claim_volume(tmp_path, JOIN)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """An older program does not guess at a newer volume."""
    (tmp_path / "identity").write_bytes(encode_identity(Identity(format=FORMAT + 1)))
    with pytest.raises(VolumeForeignError, match="upgrade"):
        load_identity(tmp_path)


def test_numbers_only_grow(tmp_path: Path) -> None:
    """Registrations count up over restarts; an epoch never goes back."""
    joined(tmp_path)
    assert [claim_volume(tmp_path, SERVE).propose_registration() for _ in range(3)] == [1, 2, 3]
    identity = claim_volume(tmp_path, SERVE)
    identity.raise_epoch(5, 10)
    identity.raise_epoch(4, 11)
    again = claim_volume(tmp_path, SERVE).current
    assert (again.highest_epoch, again.highest_commit_seq, again.registration) == (5, 10, 3)


def test_what_cannot_be_written_is_not_believed(tmp_path: Path) -> None:
    """A number that is not durable is not given out."""
    joined(tmp_path)
    identity = claim_volume(tmp_path, SERVE)
    before = identity.current
    (tmp_path / "identity").unlink()
    (tmp_path / "identity").mkdir()
    (tmp_path / "identity" / "in the way").touch()
    with pytest.raises(VolumeFailedError):
        identity.propose_registration()
    assert identity.current == before


def test_the_key_is_not_shown() -> None:
    """An identity in a log or a traceback does not give its key away."""
    assert "kkkk" not in repr(Identity(node_key=b"k" * 32))


def config(**changes: object) -> NodeConfig:
    """A good configuration, but for what is changed."""
    values: dict[str, object] = {
        "volume": Path("/v"), "name": "n", "master": "m:1", "listen": "127.0.0.1:0", **changes
    }  # fmt: skip
    return NodeConfig(**values)  # type: ignore[arg-type]


def test_all_faults_of_a_configuration_are_told_at_once() -> None:
    """Nobody has to mend them one by one."""
    with pytest.raises(UsageError, match=r"(?s)--name.*--master.*--public-address"):
        config(name=" ", master="nowhere", public_address="x").check()
    with pytest.raises(UsageError, match="--cluster-address"):
        config(listen="0.0.0.0:5001").check()
    config(listen="0.0.0.0:5001", cluster_address="node-1:5001").check()
    config().check()


def test_addresses_follow_from_the_listening_one() -> None:
    """Port 0 becomes the real port everywhere; outside defaults to inside."""
    assert config().addresses("127.0.0.1:4711") == ("127.0.0.1:4711", "127.0.0.1:4711")
    both = config(listen="0.0.0.0:0", cluster_address="node-1:0", public_address="example.org:80")
    assert both.addresses("0.0.0.0:4711") == ("node-1:4711", "example.org:80")


def test_the_join_token_file(tmp_path: Path) -> None:
    """Hex text, with or without a line end; anything else is one sentence."""
    path = tmp_path / "token"
    path.write_text("00ff\n")
    assert read_join_token(path) == b"\x00\xff"
    for bad in ("", "xyz", "é"):
        path.write_text(bad, encoding="utf-8")
        with pytest.raises(UsageError):
            read_join_token(path)
    with pytest.raises(UsageError):
        read_join_token(tmp_path / "absent")
