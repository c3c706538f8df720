"""`sync --delete` on a real cluster that cannot store what is new."""

from pathlib import Path

from tests.support.process_cluster import ProcessCluster


def test_sync_removes_nothing_that_it_could_not_store_anew(cluster: ProcessCluster, tmp_path: Path) -> None:
    """With one node left every copy fails: all that was stored stays, until the new is stored as well."""
    source = tmp_path / "source"
    (source / "dir").mkdir(parents=True)
    for name in ("report.txt", "dir/a", "dir/b"):
        (source / name).write_text(name)
    cluster.dfs_client("sync", str(source), "dfs:/bk")
    (source / "report.txt").rename(source / "report-final.txt")
    (source / "report-final.txt").write_text("final")
    (source / "dir/a").unlink()
    (source / "dir/b").unlink()
    (source / "dir").rmdir()
    (source / "dir").write_text("a file now")
    cluster.kill("node-1")
    cluster.kill("node-2")
    failed = cluster.dfs_client("sync", "--delete", str(source), "dfs:/bk", check=False)
    assert failed.returncode == 1
    assert "0 deleted" in failed.stdout
    with cluster.client() as dfs:
        paths = {entry.path for entry in dfs.walk("/bk")}
    assert paths == {"/bk/report.txt", "/bk/dir", "/bk/dir/a", "/bk/dir/b"}
    cluster.start()
    again = cluster.dfs_client("sync", "--delete", str(source), "dfs:/bk")
    assert again.stdout.startswith("synced: 2 files copied, 1 deleted")
    with cluster.client() as dfs:
        assert {entry.path for entry in dfs.walk("/bk")} == {"/bk/report-final.txt", "/bk/dir"}
    cluster.dfs_client("sync", "dfs:/bk", str(tmp_path / "back"))
    assert (tmp_path / "back/dir").read_text() == "a file now"
