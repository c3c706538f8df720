"""A rolling upgrade: one role at a time, each only while every chunk has all its copies; back again when one fails."""

from collections.abc import Sequence, Set
from contextlib import suppress

from dfs_deploy.engine import Engine
from dfs_deploy.run import MASTER_SECONDS, NODES_SECONDS
from dfs_deploy.spec import MASTER, ClusterSpec
from dfs_deploy.state import Credentials
from dfs_deploy.surroundings import Surroundings
from dfs_deploy.upgrade_plan import check_in_service, roles_to_bring_back
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
        #: In order; of the last one, nobody may know how far it is.
        self._replaced: list[str] = []
        #: Those that served since.
        self._done: set[str] = set()

    def carry_out(self, roles: Sequence[str]) -> None:
        """Replace the roles in order and test the cluster; whatever ends it early (Ctrl-C too) takes all of it back.

        Raises:
            ConflictError: a node is out of service; nothing was touched.
            DfsError: a role did not come back healthy; the cluster runs as before, or the error says what does not.
        """
        self._check_in_service()
        self._engine.let_go(self._spec)
        try:
            for role in roles:
                self._await_whole()
                self._around.progress(f"upgrading {role}")
                self._replace(role)
            self._await_whole()
            self._around.progress("uploading a file, reading it back and removing it")
            self._around.health.self_test(self._spec, self._credentials)
            # The test needs no node in particular.
            self._await_whole()
        except BaseException as error:
            self._take_back(error)
            raise
        self._engine.let_go(self._spec)

    def _replace(self, role: str) -> None:
        self._replaced.append(role)
        self._engine.set_aside(self._spec, role)
        self._begin(role)
        self._done.add(role)

    def _begin(self, role: str) -> None:
        # Whatever is heard of it from here on, this process said.
        since = self._around.clock.wall_ms()
        self._start(role)
        # Who hears the new master again, the wait before the next step asks.
        self._await_role(role, since, set() if role == MASTER else {role})

    def _start(self, role: str) -> None:
        if role == MASTER:
            self._engine.start_master(self._spec)
        else:
            self._engine.start_node(self._spec, self._spec.node(role))

    # -- the way back -------------------------------------------------------------------------------------------

    def _take_back(self, error: BaseException) -> None:
        """Bring everything back that was replaced.

        Raises:
            UnavailableError: that failed too; says what runs and what does not. After Ctrl-C it is only said.
        """
        self._revive()
        for role in roles_to_bring_back(self._replaced):
            try:
                self._bring_back(role)
            except (DfsError, OSError) as second:
                if role == MASTER and self._runs_anew():
                    # Its database has the new schema by now, which the version before refuses to touch.
                    self._around.progress("the master stays at the new version: the one before cannot use its database")
                    continue
                words = (
                    f"The upgrade failed ({_sentence(error)}), and {role} did not come back either "
                    f"({_sentence(second)}); see `dfs status` and `dfs logs {role}`. Where this version was installed "
                    f"over the one before, install that one again and say `dfs start --name {self._spec.name}`."
                )
                if isinstance(error, Exception):
                    raise UnavailableError(words) from error
                self._around.progress(words)
                return

    def _revive(self) -> None:
        """Start again what served and ended since, the master first: nobody else can be spared before that."""
        running = self._engine.look(self._spec).running
        for role in self._replaced:
            if role in self._done - running:
                # What does not come up here is dealt with in its turn.
                with suppress(DfsError, OSError):
                    self._begin(role)

    def _bring_back(self, role: str) -> None:
        """Bring a role of the version before back. Where that is not there any more, see that the present one runs."""
        if self._engine.can_bring_back(self._spec, role):
            self._around.progress(f"bringing {role} of the version before back")
            # Who is not there is not waited for: that may be why we go back.
            heard = self._around.health.live_nodes(self._spec, self._credentials, 0)
            there = heard.keys() & self._engine.look(self._spec).running
            since = self._around.clock.wall_ms()
            self._engine.bring_back(self._spec, role)
            self._await_role(role, since, there if role == MASTER else {role})
        elif role in self._done & self._engine.look(self._spec).running:
            self._around.progress(f"{role} serves on: there is nothing else to go back to")
            return
        else:
            self._around.progress(f"starting {role} again")
            self._engine.stop(self._spec, [role])
            self._begin(role)
        if role != MASTER:
            self._await_copies()

    def _runs_anew(self) -> bool:
        """Whether the new master serves again, in place of the old one that could not."""
        with suppress(DfsError, OSError):
            self._engine.stop(self._spec, [MASTER])
            self._begin(MASTER)
            return True
        return False

    # -- waiting ------------------------------------------------------------------------------------------------

    def _await_role(self, role: str, since_ms: int, nodes: Set[str]) -> None:
        """Wait until a role serves: until these nodes are heard, by a master that answers.

        Raises:
            UnavailableError: it ended.
            TimedOutError: it does not serve in time.
        """
        seconds = MASTER_SECONDS if role == MASTER else NODES_SECONDS
        deadline = Deadline(self._around.clock, seconds)
        while not self._serves(role, since_ms, nodes):
            self._check_running(role, MASTER)
            if deadline.passed():
                raise TimedOutError(f"{role} does not serve after {seconds:.0f} s")
            self._around.clock.sleep(_POLL_SECONDS)

    def _serves(self, role: str, since_ms: int, nodes: Set[str]) -> bool:
        health = self._around.health
        if role == MASTER and not health.master_answers(self._spec, self._credentials):
            return False
        return nodes <= health.live_nodes(self._spec, self._credentials, since_ms).keys()

    def _await_whole(self) -> None:
        """Wait until all roles run, all nodes were heard of since the wait began, and every chunk has all its copies.

        The number of copies alone says too little: a node that was killed is missed only when it was silent a while.

        Raises:
            UnavailableError: a role ended.
            ConflictError: a node was taken out of service meanwhile.
            TimedOutError: a node is not heard of, or copies are not made any more.
        """
        self._check_in_service()
        since, deadline = self._around.clock.wall_ms(), Deadline(self._around.clock, NODES_SECONDS)
        while silent := self._silent(since):
            if deadline.passed():
                raise TimedOutError(f"{silent[0]} is not live after {NODES_SECONDS:.0f} s; see `dfs node list`.")
            self._around.clock.sleep(_POLL_SECONDS)
        self._await_copies()
        self._check_running(*self._spec.roles)

    def _silent(self, since_ms: int) -> list[str]:
        self._check_running(*self._spec.roles)
        live = self._around.health.live_nodes(self._spec, self._credentials, since_ms)
        return [node.name for node in self._spec.nodes if node.name not in live]

    def _check_in_service(self) -> None:
        check_in_service(self._spec, self._around.health.node_states(self._spec, self._credentials))

    def _check_running(self, *roles: str) -> None:
        running = self._engine.look(self._spec).running
        for role in roles:
            if role not in running:
                raise UnavailableError(f"{role} ended: {self._engine.last_words(self._spec, role)}")

    def _await_copies(self) -> None:
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
