"""The architecture page speaks of what is there."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = ("common", "master", "node", "client", "deploy", "migrations", "tests", "docs")


@cache
def files() -> list[str]:
    """Every Python file and page, from the root."""
    return [
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for pattern in ("*.py", "*.md")
        for path in (ROOT / folder).rglob(pattern)
    ]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"[\w/-]+\.(?:py|md)\b", PAGE))))
def test_every_file_that_it_names_exists(name: str) -> None:
    """A file that moved takes its sentence with it."""
    assert any(f"/{path}".endswith(f"/{name}") for path in files()), f"{name} is gone: mend docs/architecture.md"


@pytest.mark.parametrize(("module", "name"), sorted(set(re.findall(r"\b([a-z_]+)\.(_?[A-Z]\w+|_?[a-z]\w+)", PAGE))))
def test_every_name_that_it_gives_exists(module: str, name: str) -> None:
    """`module.Name`, where the module is one of ours."""
    sources = [path for path in files() if path.endswith(f"/{module}.py") and not path.startswith("tests")]
    if not sources or name in ("py", "md"):
        return
    found = any(re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")) for path in sources)
    assert found, f"{module}.{name} is gone: mend docs/architecture.md"
