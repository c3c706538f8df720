"""`python -m bench.startup`: seconds from nothing to a usable cluster, with the image there and with nothing there.

Usable means: `dfs deploy` has returned (it waits until a file came back), and a file went up and came back equal.
"""

import argparse
import filecmp
import json
import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from dfs_deploy.docker_engine.sdk import DockerSdk
from dfs_deploy.image.base import DEBIAN_BASE, OFFICIAL_BASE
from dfs_deploy.image.builder import plan_image

FILE_BYTES = 1024 * 1024


def main() -> None:
    """Measure, print, perhaps write."""
    parser = argparse.ArgumentParser(description="Measure the time from nothing to a usable cluster on this machine.")
    parser.add_argument("--engine", choices=("docker", "process"), default="docker")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--runs", type=int, default=3, help="with the image there (default %(default)s)")
    parser.add_argument(
        "--from-nothing",
        action="store_true",
        help="measure first without an image: the image of this code and its base are removed, no wheel is kept",
    )
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    if options.from_nothing and options.engine == "docker":
        remove_images()
        with tempfile.TemporaryDirectory(prefix="dfs-bench-cache-") as cache:
            figures["without image, base or wheels, s"] = usable_after(options.engine, options.nodes, cache)
    else:
        # What this run is not about: the image of changed code is made before the clock runs.
        usable_after(options.engine, options.nodes)
    before = processor_seconds()
    runs = [usable_after(options.engine, options.nodes) for _ in range(options.runs)]
    figures |= {"median, s": statistics.median(runs), "min, s": min(runs), "max, s": max(runs)}
    # On a busy machine this says more: of deploy, upload, download and destroy, without the roles and the engine.
    figures["processor time of the commands, s"] = (processor_seconds() - before) / options.runs
    for name, value in figures.items():
        print(f"{options.engine}, {options.nodes} nodes: {name:36} {value:8.1f}")
    if options.json is not None:
        options.json.write_text(json.dumps({"engine": options.engine, "nodes": options.nodes, **figures}) + "\n")


def processor_seconds() -> float:
    """What all commands have used so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def remove_images() -> None:
    """Take the image of this code and both bases away, unless a container uses them."""
    with closing(DockerSdk.connect()) as sdk:
        for reference in (plan_image(sdk.architecture).reference, DEBIAN_BASE, OFFICIAL_BASE):
            sdk.remove_image(reference)
            if sdk.image_labels(reference) is not None:
                sys.exit(f"{reference} is in use; destroy the clusters that use it first.")


def usable_after(engine: str, nodes: int, cache: str | None = None) -> float:
    """Deploy a new cluster in a home of its own, use it, destroy it; the seconds until it had been used."""
    name = f"bench-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="dfs-bench-") as directory:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DFS_")}
        environ = kept | {"DFS_HOME": f"{directory}/home", "DFS_PROFILE": name}
        if cache is not None:
            environ["XDG_CACHE_HOME"] = cache
        source, back = Path(directory, "source"), Path(directory, "back")
        source.write_bytes(os.urandom(FILE_BYTES))
        try:
            begun = time.monotonic()
            run("dfs", "deploy", "--engine", engine, "--nodes", str(nodes), environ=environ)
            run("dfs-client", "upload", str(source), "/file", environ=environ)
            run("dfs-client", "download", "/file", str(back), environ=environ)
            seconds = time.monotonic() - begun
            if not filecmp.cmp(source, back, shallow=False):
                sys.exit("the cluster gave other bytes back than it was given")
        finally:
            run("dfs", "destroy", "--delete-data", "--yes", environ=environ)
    return seconds


def run(program: str, *arguments: str, environ: dict[str, str]) -> None:
    """Run one of our programs; what it says is shown when it fails."""
    script = Path(sys.executable).with_name(program)
    done = subprocess.run([script, *arguments], env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "destroy" not in arguments:
        sys.exit(f"{program} {arguments[0]} ended with {done.returncode}: {done.stderr}")


if __name__ == "__main__":
    main()
