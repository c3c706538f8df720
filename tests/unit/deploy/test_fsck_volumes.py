"""`dfs fsck` reads volumes by itself: whatever is wrong with a chunk file, it sees it."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.chunk_surgery import DAMAGES
from tests.support.volumes import chunk_of, store

from dfs_deploy.fsck.scan import lines, parse
from dfs_deploy.fsck.volume_files import copies, read_identity
from dfs_node.disk_volume import DiskVolume
from dfs_node.identity import Identity, encode_identity
from dfs_node.volume_directory import make_chunk_directories
from dfs_wire.errors import CorruptError, VolumeForeignError

SIZES = (1, 65_536, 65_537, 300_000)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume with a chunk of each size."""
    make_chunk_directories(tmp_path)
    (tmp_path / "identity").write_bytes(encode_identity(Identity(cluster_id="c1", node_id=7, node_key=b"k" * 32)))
    disk = DiskVolume(tmp_path)
    for number, size in enumerate(SIZES):
        store(disk, chunk_of(size, number)[0], generation=number + 1)
    return tmp_path


def chunk_path(volume: Path, number: int) -> Path:
    """Where a chunk of the fixture lies."""
    digest = chunk_of(SIZES[number], number)[1].hex()
    return volume / "chunks" / digest[:2] / digest


def test_a_sound_volume_is_listed_as_it_is(volume: Path) -> None:
    """Digest, size and generation of every chunk, and nothing wrong with any."""
    found = {copy.digest: copy for copy in copies(volume, read_data=True)}
    for number, size in enumerate(SIZES):
        copy = found.pop(chunk_of(size, number)[1].hex())
        assert (copy.size, copy.generation, copy.damage) == (size, number + 1, "")
    assert not found


@pytest.mark.parametrize("kind", [kind for kind in DAMAGES if kind != "deleted"])
def test_every_kind_of_damage_is_seen(volume: Path, kind: str) -> None:
    """And only on the chunk that has it."""
    DAMAGES[kind](chunk_path(volume, 3), chunk_path(volume, 2))
    bad = [copy.digest for copy in copies(volume, read_data=True) if copy.damage]
    assert bad == [chunk_path(volume, 3).name]


def test_without_reading_data_headers_and_lengths_are_judged(volume: Path) -> None:
    """A flipped byte of the data is not seen then, a short file is."""
    DAMAGES["flipped middle byte"](chunk_path(volume, 3), chunk_path(volume, 2))
    DAMAGES["short by a byte"](chunk_path(volume, 2), chunk_path(volume, 3))
    bad = [(copy.digest, copy.damage) for copy in copies(volume, read_data=False) if copy.damage]
    assert bad == [(chunk_path(volume, 2).name, "truncated")]


def test_unfinished_chunks_and_foreign_files_are_no_copies(volume: Path) -> None:
    """Their names are no digests."""
    directory = chunk_path(volume, 0).parent
    (directory / f".{'0' * 64}.1234.tmp").write_bytes(b"half")
    (directory / "notes.txt").write_bytes(b"mine")
    (volume / "chunks" / "stray").write_bytes(b"")
    assert len(list(copies(volume, read_data=False))) == len(SIZES)


def test_a_volume_without_its_chunks_has_lost_them_all(volume: Path) -> None:
    """It is still that volume: nothing on it can be hoped for."""
    (volume / "chunks").rename(volume / "gone")
    assert list(copies(volume, read_data=False)) == []


def test_the_program_prints_what_the_parser_reads(volume: Path) -> None:
    """As it is run over a volume that is elsewhere."""
    command = [sys.executable, "-m", "dfs_deploy.fsck.scan", str(volume), "--data"]
    printed = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    head, found = parse(io.BytesIO(printed))
    assert (head.cluster_id, head.node_id) == ("c1", 7)
    assert sorted(copy.size for copy in found) == sorted(SIZES)


def test_a_scan_that_was_cut_off_is_no_scan(volume: Path) -> None:
    """At every line, and also between the lines."""
    whole = list(lines(volume, read_data=False))

    def read(text: Iterator[bytes]) -> None:
        list(parse(text)[1])

    for count in range(len(whole)):
        with pytest.raises(CorruptError):
            read(iter(whole[:count]))
    with pytest.raises(CorruptError):
        read(iter([*whole[:1], *whole[2:]]))
    read(iter(whole))


def test_what_is_no_volume_is_refused(tmp_path: Path, volume: Path) -> None:
    """With a sentence, and the program with an exit code."""
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(VolumeForeignError):
        read_identity(empty)
    identity = volume / "identity"
    identity.write_bytes(identity.read_bytes()[:-1])
    with pytest.raises(VolumeForeignError):
        read_identity(volume)
    done = subprocess.run(
        [sys.executable, "-m", "dfs_deploy.fsck.scan", str(empty)], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert b"no volume" in done.stderr
