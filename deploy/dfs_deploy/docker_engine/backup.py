"""A copy of the metadata out of a container: made inside, fetched, and removed there."""

import io
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from dfs_deploy.containers import DATA, MASTER_DATA
from dfs_deploy.docker_engine.archives import save_only_file
from dfs_deploy.docker_engine.sdk import DockerSdk
from dfs_deploy.programs import MASTER_PROGRAM
from dfs_wire.errors import AlreadyExistsError, NotFoundError

_MARK_BYTES = 8
#: A copy that nobody wrote to for so long was left by a backup that was killed, in seconds.
_LEFT_SECONDS = 24 * 60 * 60
_NAME = f"backup-{'[0-9a-f]' * 2 * _MARK_BYTES}.db"
#: Runs inside. The second pattern is a copy that was not finished.
REMOVE_LEFT = f"""\
import pathlib, time
for pattern in ({_NAME!r}, {f".{_NAME}.*"!r}):
    for path in pathlib.Path({DATA!r}).glob(pattern):
        if path.stat().st_mtime < time.time() - {_LEFT_SECONDS}:
            path.unlink()
"""


def back_up(sdk: DockerSdk, container: str, target: Path, options: Sequence[str], out: BinaryIO) -> int:
    """Let the copy be made inside, then fetch it: a container cannot write to the host. The program's exit code.

    Raises:
        AlreadyExistsError: the target exists.
        NotFoundError: the target's directory does not.
        UnavailableError: the copy did not come whole; nothing is left of it here.
    """
    if target.exists():
        raise AlreadyExistsError(f"{target} exists; choose another name.")
    if not target.parent.is_dir():
        raise NotFoundError(f"The directory of {target} does not exist; make it first.")
    inside = f"{DATA}/backup-{secrets.token_hex(_MARK_BYTES)}.db"
    said = io.BytesIO()
    sdk.run_in(container, ["python", "-c", REMOVE_LEFT], io.BytesIO(), io.BytesIO())
    try:
        command = [MASTER_PROGRAM, "db", "backup", inside, *options, "--data", MASTER_DATA]
        code = sdk.run_in(container, command, said, sys.stderr.buffer)
        sys.stderr.buffer.flush()
        if code == 0:
            save_only_file(sdk.get_archive(container, inside), target)
    except FileExistsError as error:
        raise AlreadyExistsError(f"{target} exists; choose another name.") from error
    finally:
        sdk.run_in(container, ["rm", "-f", inside], io.BytesIO(), io.BytesIO())
    out.write(said.getvalue().replace(inside.encode(), str(target).encode()))
    return code
