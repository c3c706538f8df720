"""A rolling upgrade: one role at a time, each only while every chunk has all its copies; back again when one fails."""

from collections.abc import Sequence
from contextlib import suppress

from dfs_deploy.engine import Engine
from dfs_deploy.run import MASTER_SECONDS, NODES_SECONDS
from dfs_deploy.spec import MASTER, ClusterSpec
from dfs_deploy.state import Credentials
from dfs_deploy.surroundings import Surroundings
from dfs_deploy.upgrade_plan import roles_to_bring_back
from dfs_runtime.clock import Deadline
from dfs_wire.errors import DfsError, TimedOutError, UnavailableError

#: Chunks that lack copies are waited for as long as their number goes down within this time.
WHOLE_SECONDS = 300.0
_POLL_SECONDS = 0.2


class RollingUpgrade:
    """One upgrade of one cluster, whose lock the caller holds. Used by one thread."""

    def __init__(self, around: Surroundings, engine: Engine, spec: ClusterSpec, credentials: Credentials) -> None:
        self._around = around
        self._engine = engine
        self._spec = spec
        self._credentials = credentials
        self._replaced: list[str] = []

    def carry_out(self, roles: Sequence[str]) -> None:
        """Replace the roles in order and test the cluster; whatever ends it early (Ctrl-C too) takes all of it back.

        Raises:
            DfsError: a role did not come back healthy; the cluster runs as before, or the error says what does not.
        """
        self._engine.let_go(self._spec)
        try:
            for role in roles:
                self._await_whole()
                self._around.progress(f"upgrading {role}")
                self._replace(role)
            self._await_whole()
            self._around.progress("uploading a file, reading it back and removing it")
            self._around.health.self_test(self._spec, self._credentials)
        except BaseException as error:
            self._take_back(error)
            raise
        self._engine.let_go(self._spec)

    def _replace(self, role: str) -> None:
        self._replaced.append(role)
        self._engine.set_aside(self._spec, role)
        # Whatever is heard of it from here on, its successor said.
        since = self._around.clock.wall_ms()
        self._start(role)
        self._await_role(role, since)

    def _start(self, role: str) -> None:
        if role == MASTER:
            self._engine.start_master(self._spec)
        else:
            self._engine.start_node(self._spec, self._spec.node(role))

    # -- the way back -------------------------------------------------------------------------------------------

    def _take_back(self, error: BaseException) -> None:
        """Bring everything back that was replaced.

        Raises:
            UnavailableError: that failed too; says what runs and what does not.
        """
        for role in roles_to_bring_back(self._replaced):
            self._around.progress(f"bringing {role} of the version before back")
            try:
                self._engine.stop(self._spec, [role])
                since = self._around.clock.wall_ms()
                self._engine.bring_back(self._spec, role)
                self._await_role(role, since)
                if role != MASTER:
                    self._await_whole()
            except DfsError as second:
                if role == MASTER and self._runs_anew():
                    # Its database has the new schema by now, which the version before refuses to touch.
                    self._around.progress("the master stays at the new version: the one before cannot use its database")
                    continue
                raise UnavailableError(
                    f"The upgrade failed ({_sentence(error)}), and {role} of the version before did not come back "
                    f"either ({_sentence(second)}); see `dfs status` and `dfs logs {role}`."
                ) from error

    def _runs_anew(self) -> bool:
        """Whether the new master serves again, in place of the old one that could not; it did before."""
        if self._replaced == [MASTER]:
            return False
        with suppress(DfsError):
            self._engine.stop(self._spec, [MASTER])
            since = self._around.clock.wall_ms()
            self._start(MASTER)
            self._await_role(MASTER, since)
            return True
        return False

    # -- waiting ------------------------------------------------------------------------------------------------

    def _await_role(self, role: str, since_ms: int) -> None:
        """Wait until a role serves, and after the master until it hears all nodes again.

        Raises:
            UnavailableError: it ended.
            TimedOutError: it does not serve in time.
        """
        seconds = MASTER_SECONDS if role == MASTER else NODES_SECONDS
        deadline = Deadline(self._around.clock, seconds)
        while not self._serves(role, since_ms):
            if role not in self._engine.look(self._spec).running:
                raise UnavailableError(f"{role} ended: {self._engine.last_words(self._spec, role)}")
            if deadline.passed():
                raise TimedOutError(f"{role} does not serve after {seconds:.0f} s")
            self._around.clock.sleep(_POLL_SECONDS)

    def _serves(self, role: str, since_ms: int) -> bool:
        health = self._around.health
        if role == MASTER and not health.master_answers(self._spec, self._credentials):
            return False
        live = health.live_nodes(self._spec, self._credentials, since_ms)
        awaited = {node.name for node in self._spec.nodes} if role == MASTER else {role}
        return awaited <= live.keys()

    def _await_whole(self) -> None:
        """Wait until every chunk has all its copies on live nodes.

        Raises:
            TimedOutError: that goes on no more.
        """
        before, patience = None, Deadline(self._around.clock, WHOLE_SECONDS)
        while (left := self._around.health.too_few_copies(self._spec, self._credentials)) > 0:
            if before is None or left < before:
                self._around.progress(f"waiting until all chunks have their copies: {left} lack some")
                before, patience = left, Deadline(self._around.clock, WHOLE_SECONDS)
            if patience.passed():
                raise TimedOutError(
                    f"{left} chunks lack copies and nothing changes; an upgrade would take more away. See `dfs status`."
                )
            self._around.clock.sleep(_POLL_SECONDS)


def _sentence(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__
