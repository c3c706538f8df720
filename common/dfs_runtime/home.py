"""Where a user's state lies."""

import os
from collections.abc import Mapping
from pathlib import Path


def dfs_home(environ: Mapping[str, str] | None = None) -> Path:
    """`DFS_HOME`, or the user's data directory of this platform. The directory need not exist yet.

    Links and `..` are resolved: one directory has one spelling, by which what runs over it is found again.
    """
    given = (os.environ if environ is None else environ).get("DFS_HOME", "")
    if given:
        return Path(given).expanduser().resolve()
    # Most users set nothing, but `dfs-client` must start fast: the library is loaded only here.
    from platformdirs import user_data_path

    return user_data_path("dfs").resolve()
