"""What one `dfs` command line works with: its options, its output, and the parts, built when first needed."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfs_client.display import visible
from dfs_client.output import Output
from dfs_deploy.naming import NAME_DEFAULT, check_named, check_not_gone, meant_cluster, needed_cluster
from dfs_wire.errors import UsageError

if TYPE_CHECKING:
    from dfs_deploy.cluster import Operator
    from dfs_deploy.engine import Engine
    from dfs_deploy.engines import Engines
    from dfs_deploy.spec import ClusterSpec
    from dfs_deploy.state import StateStore

PROGRAM = "dfs"


class Session:
    """One command's surroundings. Its parts are imported late, so that `--help` and completion start fast."""

    def __init__(self, output: Output, *, environ: Mapping[str, str] | None = None) -> None:
        self.output = output
        self.name: str | None = None
        self._show: Callable[[str], None] = self.say
        self._environ = os.environ if environ is None else environ

    @cached_property
    def home(self) -> Path:
        """Where all state of this user lies."""
        from dfs_runtime.home import dfs_home

        return dfs_home(self._environ)

    @cached_property
    def store(self) -> "StateStore":
        """The clusters under the home."""
        from dfs_deploy.state import StateStore
        from dfs_runtime.clock import SystemClock

        return StateStore(self.home, SystemClock())

    @cached_property
    def operator(self) -> "Operator":
        """What changes clusters."""
        from dfs_deploy.client_health import ClientHealth
        from dfs_deploy.cluster import Operator
        from dfs_deploy.profiles import ProfileBook
        from dfs_deploy.surroundings import Surroundings
        from dfs_runtime.clock import SystemClock
        from dfs_wire.port_probe import port_is_free

        clock = SystemClock()
        around = Surroundings(
            store=self.store,
            profiles=ProfileBook(self.home),
            health=ClientHealth(),
            clock=clock,
            progress=self.progress_line,
        )
        return Operator(around, self.engines, port_is_free, self.engines.for_new_clusters)

    @cached_property
    def engines(self) -> "Engines":
        """What runs clusters."""
        from dfs_deploy.engines import Engines
        from dfs_runtime.clock import SystemClock

        clock = SystemClock()
        return Engines(self.store, self.home, clock, self._environ, progress=self.progress_line, say=self.say)

    def say(self, text: str) -> None:
        """A remark for people, on standard error."""
        self.output.note(text)

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Show what is being done: on one line that changes on a terminal, a line a step elsewhere."""
        if not self.output.err_on_terminal:
            yield
            return
        from rich.console import Console
        from rich.text import Text

        with Console(file=self.output.err).status("looking") as status:
            # A name in brackets is no markup.
            self._show = lambda text: status.update(Text(text))
            try:
                yield
            finally:
                self._show = self.say

    def progress_line(self, text: str) -> None:
        """What is being done now; see `progress`."""
        self._show(visible(text))

    def confirm_deletion(self, question: str, *, yes: bool) -> None:
        """Ask a person before data of the cluster that is meant goes, and go on only after a yes.

        Who says `--yes` is not asked, and so does not see which cluster is meant: of several he names it himself.

        Raises:
            UsageError: nobody is there to ask, or none of several clusters was named.
            click.Abort: the answer was no.
        """
        if yes:
            check_named(self.name, self._environ, self.store.names())
            return
        if not sys.stdin.isatty():
            raise UsageError("Nobody can be asked here; say --yes to go on.")
        click.confirm(question, abort=True, err=True)

    def cluster_name(self) -> str:
        """The cluster that this command means, which should exist.

        Raises:
            NotFoundError: none is named, or the one deployed last is gone.
        """
        return needed_cluster(self._meant(), self.store.names())

    def cluster_name_for_deploy(self) -> str:
        """The cluster that `deploy` means, which need not exist.

        Raises:
            NotFoundError: none is named, and of several the one deployed last is gone.
        """
        return self._meant() or NAME_DEFAULT

    def cluster(self) -> "ClusterSpec":
        """The cluster that this command means.

        Raises:
            NotFoundError: none is named, or it does not exist here.
        """
        return self.store.load(self.cluster_name())

    def engine_of(self, spec: "ClusterSpec") -> "Engine":
        """The engine that runs a cluster."""
        return self.operator.engine(spec.engine_key)

    def _meant(self) -> str | None:
        from dfs_client.profile import current_profile, profile_names

        existing = self.store.names()
        meant = meant_cluster(self.name, self._environ, None, ())
        if meant is not None:
            return meant
        deployed_last = check_not_gone(current_profile(home=self.home), existing, profile_names(home=self.home))
        return meant_cluster(None, {}, deployed_last, existing)
