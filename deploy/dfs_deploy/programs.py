"""How this installation starts the daemons, and with what environment."""

import hashlib
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

MASTER_PROGRAM = "dfs-master"
NODE_PROGRAM = "dfs-node"

#: Settings of the person who deploys; a daemon has no use for them, and keys least of all.
_PERSONAL = frozenset({"DFS_KEY", "DFS_PROFILE", "DFS_MASTER"})


def program_command(program: str, python: Path | None = None) -> list[str]:
    """The start of a command line: the console script beside the running Python, else `python -m package`.

    The daemons always come from the same installation as `dfs` itself, whatever `PATH` says.
    """
    interpreter = Path(sys.executable) if python is None else python
    script = interpreter.parent / program
    if os.access(script, os.X_OK):
        return [str(script)]
    return [str(interpreter), "-m", program.replace("-", "_")]


#: What the daemons run.
_DAEMON_PACKAGES = ("dfs_runtime", "dfs_wire", "dfs_master", "dfs_node", "dfs_client", "dfs_migrations")


def code_mark() -> str:
    """A word that changes when other code of the daemons is installed: over their files' names, sizes and times."""
    mark = hashlib.sha256()
    for package in _DAEMON_PACKAGES:
        # Roles are found, not imported: deploy knows no master and no node.
        spec = find_spec(package)
        root = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
        for path in sorted(root.rglob("*.py")) if root is not None else ():
            facts = path.stat()
            mark.update(f"{path} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return mark.hexdigest()[:32]


def daemon_environment(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment of a daemon: the caller's without personal settings, and the same home."""
    kept = {name: value for name, value in environ.items() if name not in _PERSONAL}
    return kept | {"DFS_HOME": str(home)}
