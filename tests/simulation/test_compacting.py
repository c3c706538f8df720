"""Packs in a simulated cluster: most of their files go, and the space with them; the rest stays readable."""

import io
import random
from pathlib import Path

from tests.simulation.world import World

from dfs_master.settings import Settings

FILES = 40
FILE_BYTES = 10_000
HASTY = Settings(version_grace_seconds=1, chunk_grace_seconds=1, orphan_seconds=60, inventory_seconds=60)


def used_bytes(world: World) -> int:
    """What all volumes hold."""
    return sum(node.volume.usage().used_bytes for node in world.nodes)


def test_a_pack_of_which_most_was_deleted_shrinks(tmp_path: Path) -> None:
    """Nine in ten files of a pack are removed: the bytes go, without a new upload, and what is left reads back."""
    world = World(tmp_path, 7, settings=HASTY)
    randomness = random.Random(1)
    contents = {f"/p/f{number}": randomness.randbytes(FILE_BYTES) for number in range(FILES)}
    local = tmp_path / "local"
    local.mkdir()
    try:
        with world.client() as dfs:
            pairs = []
            for path, data in contents.items():
                file = local / path.rpartition("/")[2]
                file.write_bytes(data)
                pairs.append((file, path))
            assert all(result.error is None for result in dfs.upload_many(pairs))
            assert world.count("SELECT count(*) FROM chunks") < FILES / 4
            full = used_bytes(world)
            kept = dict(list(contents.items())[3::10])
            for path in contents.keys() - kept.keys():
                dfs.remove(path)
            world.clock.sleep(120.0)
            assert used_bytes(world) <= full / 9
            for path, data in kept.items():
                target = io.BytesIO()
                dfs.download(path, target)
                assert target.getvalue() == data
        assert world.count("SELECT min(copies_good) FROM chunks WHERE copies_wanted > 0") == 2
    finally:
        world.close()
