"""Runs `dfs-client` inside the test, against the api in memory."""

import json
import sys
from dataclasses import dataclass
from typing import Any, cast

from click.testing import CliRunner
from tests.support.fake_dfs import FakeDfs

from dfs_client.api import Dfs
from dfs_client.program import run_program
from dfs_client.session import Connections


@dataclass(frozen=True)
class Ran:
    """What a command line left behind."""

    code: int
    out: str
    err: str
    out_bytes: bytes

    @property
    def records(self) -> list[dict[str, Any]]:
        """Standard output as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """The error object on standard error."""
        return cast(dict[str, Any], json.loads(self.err.splitlines()[-1])["error"])


def dfs_client(fake: FakeDfs, *arguments: str, stdin: bytes = b"") -> Ran:
    """Run one command line."""
    with CliRunner().isolation(input=stdin) as (out, err, _):
        code = run_program(list(arguments), Connections(lambda _profile, _master: cast(Dfs, fake)))
        sys.stdout.flush()
        sys.stderr.flush()
        return Ran(code, out.getvalue().decode(errors="replace"), err.getvalue().decode(), out.getvalue())
