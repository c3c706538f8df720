"""Copies of our packages with a change: other versions, which run from where they lie."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("common", "master", "node", "client", "deploy", "migrations")


def copied_version(directory: Path, changes: Mapping[str, str]) -> str:
    """Copy all packages, put texts before those of some files (path below the root); the copy's `PYTHONPATH`."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, directory / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in changes.items():
        path = directory / name
        path.write_text(text + path.read_text("utf-8"), "utf-8")
    return os.pathsep.join(str(directory / folder) for folder in FOLDERS)
