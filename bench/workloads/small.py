"""w2: 2,000 files of 4 KiB, one by one and as a tree, up, down and away."""

from collections.abc import Iterator
from pathlib import Path

from bench import limits
from bench.recording import Run
from bench.workloads.content import done, expect, fresh_tree
from dfs_client.api import Dfs, connect

FILES = 2_000
SIZE = 4_096
WORKERS = 8


def small_files(run: Run) -> None:
    """One by one by 8 workers and by 1, then as a tree by the command line and by the library."""
    tree = fresh_tree(run.files / "tree", FILES, SIZE)
    run.limit("create and fsync, 8", lambda: limits.create_and_fsync(run.disk, WORKERS))
    run.limit("create and fsync, 1", lambda: limits.create_and_fsync(run.disk, 1))
    run.limit("cp -r twice", lambda: limits.copy_tree_twice(tree, run.disk))
    run.limit("round trips", limits.round_trips)
    run.limit("SQLite commits", lambda: limits.sqlite_commits(run.disk))
    _one_by_one(run, tree)
    _as_a_tree(run, tree)


def _one_by_one(run: Run, tree: Path) -> None:
    def upload(to: str, workers: int, number: int, dfs: Dfs) -> float:
        return sum(dfs.upload(path, f"{to}/{path.name}").size == SIZE for path in _share(tree, number, workers))

    def download(number: int, dfs: Dfs) -> float:
        # Each name is its own, as a program would have it; the files are kept and compared below.
        back = run.files / "one"
        return sum(
            dfs.download(f"/one/{path.name}", back / path.name).size == SIZE for path in _share(tree, number, WORKERS)
        )

    def remove(number: int, dfs: Dfs) -> float:
        paths = list(_share(tree, number, WORKERS))
        for path in paths:
            dfs.remove(f"/one/{path.name}")
        return len(paths)

    run.rate_together("w2 up, 8 workers", WORKERS, "files/s", lambda number, dfs: upload("/one", WORKERS, number, dfs))
    (run.files / "one").mkdir()
    run.rate_together("w2 down, 8 workers", WORKERS, "files/s", download)
    for path in tree.iterdir():
        expect(path.read_bytes(), (run.files / "one" / path.name).read_bytes())
    run.rate_together("w2 delete, 8 workers", WORKERS, "ops/s", remove)
    fresh_tree(tree, FILES, SIZE)
    run.rate_together("w2 up, 1 worker", 1, "files/s", lambda number, dfs: upload("/alone", 1, number, dfs))


def _as_a_tree(run: Run, tree: Path) -> None:
    fresh_tree(tree, FILES, SIZE)
    target = run.files / "commanded"
    target.mkdir()
    run.rate(
        "w2 upload -r", FILES, "files/s", lambda: run.cluster.run("dfs-client", "upload", "-r", str(tree), "/command/")
    )
    run.rate(
        "w2 download -r",
        FILES,
        "files/s",
        lambda: run.cluster.run("dfs-client", "download", "-r", "/command/tree", str(target)),
    )
    for path in tree.iterdir():
        expect(path.read_bytes(), (target / "tree" / path.name).read_bytes())
    fresh_tree(tree, FILES, SIZE)
    back = run.files / "library"
    back.mkdir()
    with connect() as dfs:
        dfs.exists("/")
        named = [(path, f"/library/{path.name}") for path in tree.iterdir()]
        run.rate("w2 upload_many", FILES, "files/s", lambda: expect(FILES, done(dfs.upload_many(named))))
        wanted = [(entry, back / Path(entry.path).name) for entry in dfs.walk("/library")]
        run.rate("w2 download_many", FILES, "files/s", lambda: expect(FILES, done(dfs.download_many(wanted))))


def _share(tree: Path, number: int, workers: int) -> Iterator[Path]:
    return (tree / f"{each:05}" for each in range(number, FILES, workers))
