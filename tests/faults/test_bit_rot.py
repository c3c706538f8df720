"""Whatever happens to a copy on a disk: readers get the right bytes or an error, and the bad copy is reported."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.chunk_surgery import DAMAGES
from tests.support.faults import FaultCluster
from tests.support.history import Upload
from tests.support.oracle import chunk_data
from tests.support.polling import poll_for

from dfs_client.api import Dfs
from dfs_wire.errors import CorruptError

#: Either copy may be read first, by chance: after so many reads the bad one was tried, or it never will be.
READS_MAX = 64
#: The order to verify goes out with the next heartbeat, its finding comes with the one after.
REPORTED_SECONDS = 20.0

SIZE = 200_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultCluster]:
    """One cluster for all kinds of damage."""
    with FaultCluster(tmp_path_factory.mktemp("rot")) as cluster:
        yield cluster.start()


@pytest.fixture(scope="module")
def dfs(cluster: FaultCluster) -> Iterator[Dfs]:
    """One client for all."""
    with cluster.client() as dfs:
        yield dfs


def store(dfs: Dfs, name: str) -> Upload:
    """A file of one chunk, of four blocks."""
    upload = Upload(name, f"/{name}", SIZE)
    dfs.upload(upload.stream(), upload.path)
    return upload


def damage_one_copy(cluster: FaultCluster, dfs: Dfs, kind: str) -> tuple[Upload, str, str]:
    """Store a file and spoil its copy on one node: the file, the node, the digest."""
    upload = store(dfs, kind.replace(" ", "-").replace("'", ""))
    node, digest, path = cluster.replica_files(upload.path)[0]
    _, _, another_path = cluster.replica_files(store(dfs, f"{upload.id}-another").path)[0]
    DAMAGES[kind](path, another_path)
    return upload, node, digest


def events_about(cluster: FaultCluster, digest: str) -> dict[str, dict[str, Any]]:
    """The details of what `dfs-master db show events --json` tells of a chunk, by kind."""
    found = [event for event in cluster.events() if event["subject"] == digest]
    return {event["kind"]: json.loads(event["detail"]) for event in found}


def good_copies(cluster: FaultCluster, digest: str) -> int:
    """What the catalog says of a chunk."""
    query = (
        "SELECT count(*) AS copies FROM replicas r JOIN chunks c ON c.id = r.chunk_id"
        " WHERE lower(hex(c.digest)) = ? AND r.state = 'good'"
    )
    return int(cluster.rows(query, digest)[0]["copies"])


def read_whole(dfs: Dfs, upload: Upload, scratch: Path) -> bytes:
    """To a local file."""
    target = scratch / "read-back"
    dfs.download(upload.path, target, force=True)
    return target.read_bytes()


def read_stream(dfs: Dfs, upload: Upload, _: Path) -> bytes:
    """To a file object."""
    target = io.BytesIO()
    dfs.download(upload.path, target)
    return target.getvalue()


def read_ranges(dfs: Dfs, upload: Upload, _: Path) -> bytes:
    """Piece by piece, as a program that seeks does."""
    with dfs.open(upload.path) as file:
        return b"".join(iter(lambda: file.read(30_001), b""))


READERS = [read_whole, read_stream, read_ranges]


@pytest.fixture(scope="module")
def damaged(
    cluster: FaultCluster, dfs: Dfs, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Upload, str, str]]:
    """A file for each kind of damage, read once: while one test waits for a finding, the others' come in as well."""
    files = {kind: damage_one_copy(cluster, dfs, kind) for kind in DAMAGES}
    scratch = tmp_path_factory.mktemp("read")
    for upload, _, _ in files.values():
        for reader in READERS:
            assert reader(dfs, upload, scratch) == upload.content()
    return files


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_bad_copy_is_not_given_out_and_reported(
    cluster: FaultCluster, dfs: Dfs, tmp_path: Path, damaged: dict[str, tuple[Upload, str, str]], kind: str
) -> None:
    """One copy is bad: every way to read gives the right bytes, an event names it, and a good one takes its place."""
    upload, node, digest = damaged[kind]
    content = upload.content()

    def noticed() -> bool:
        for reader in READERS:
            assert reader(dfs, upload, tmp_path) == content
        return bool(cluster.rows("SELECT 1 FROM events WHERE subject = ? AND kind = ?", digest, wanted))

    wanted = "copy_missing" if kind == "deleted" else "copy_corrupt"
    poll_for("the finding", noticed, seconds=REPORTED_SECONDS)
    assert events_about(cluster, digest)[wanted]["node"] == node
    poll_for("two good copies", lambda: good_copies(cluster, digest) >= 2, seconds=REPORTED_SECONDS)


def test_a_reader_s_finding_is_an_event(cluster: FaultCluster, dfs: Dfs, tmp_path: Path) -> None:
    """What only the reader can see, a wrong byte of data, is in the events as its report."""
    upload, node, digest = damage_one_copy(cluster, dfs, "flipped middle byte")
    for _ in range(READS_MAX):
        assert read_whole(dfs, upload, tmp_path) == upload.content()
        if "copy_reported" in events_about(cluster, digest):
            break
    assert events_about(cluster, digest)["copy_reported"]["node"] == node


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["flipped middle byte", "flipped length", "short by a byte", "deleted", "emptied"])
def test_when_every_copy_is_bad_the_reader_hears_so(
    cluster: FaultCluster, dfs: Dfs, tmp_path: Path, kind: str, reader: Callable[[Dfs, Upload, Path], bytes]
) -> None:
    """No copy is good: an error that says so, never other bytes, and no local file."""
    upload = store(dfs, f"all-{kind}-{reader.__name__}".replace(" ", "-"))
    for _, _, path in cluster.replica_files(upload.path):
        DAMAGES[kind](path, path)
    with pytest.raises(CorruptError, match="every copy of chunk"):
        reader(dfs, upload, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_same_content_again_mends_it(cluster: FaultCluster, dfs: Dfs, tmp_path: Path) -> None:
    """A chunk with a copy that is known to be bad is stored again by an upload of the same bytes."""
    for kind in ("flipped middle byte", "flipped generation", "deleted", "a directory"):
        name = f"mend-{kind}".replace(" ", "-")
        upload = store(dfs, name)
        _, digest, path = cluster.replica_files(upload.path)[0]
        DAMAGES[kind](path, path)

        def noticed(upload: Upload = upload, digest: str = digest) -> bool:
            assert read_whole(dfs, upload, tmp_path) == upload.content()
            query = "SELECT 1 FROM events WHERE subject = ? AND kind IN ('copy_missing', 'copy_corrupt')"
            return bool(cluster.rows(query, digest))

        poll_for("the finding", noticed, seconds=REPORTED_SECONDS)
        again = Upload(upload.id, f"/{name}-again", upload.size)
        dfs.upload(again.stream(), again.path)
        poll_for("two good copies", lambda digest=digest: good_copies(cluster, digest) >= 2, seconds=REPORTED_SECONDS)  # type: ignore[misc]
        good = cluster.rows("SELECT node FROM file_replicas WHERE path = ? AND state = 'good'", again.path)
        copies = {chunk_data(cluster.chunk_file(row["node"], digest)) for row in good}
        assert copies == {upload.content()}, kind
