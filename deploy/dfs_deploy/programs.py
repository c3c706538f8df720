"""How this installation starts the daemons, and with what environment."""

import os
import sys
from collections.abc import Mapping
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


def daemon_environment(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment of a daemon: the caller's without personal settings, and the same home."""
    kept = {name: value for name, value in environ.items() if name not in _PERSONAL}
    return kept | {"DFS_HOME": str(home)}
