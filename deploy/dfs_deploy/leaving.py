"""Let nodes go: drain them, have the master forget them, delete their volumes; and the way back while there is one."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from dfs_deploy.engine import Engine
from dfs_deploy.reports import damaged_sentence
from dfs_deploy.surroundings import Record, Surroundings
from dfs_runtime.clock import Deadline
from dfs_runtime.words import plural
from dfs_wire.errors import ConflictError, DfsError, TimedOutError, UnavailableError
from dfs_wire.messages import DrainProgressReply

#: A drain that moved nothing for so long is given up.
DRAIN_SECONDS = 180.0
_DRAIN_POLL_SECONDS = 0.5
#: A node that joined once, and that the master does not know, has so long to be let in again.
RETURN_SECONDS = 10.0


class Leaving:
    """The nodes that one command lets go. What the master says counts, and the description only where it is silent.

    A volume is deleted only of a node that the master forgot, or that had ended without ever having joined. From then
    on it stands on the record as gone until its volume is deleted, so that whoever comes next can finish it.
    Used by one thread.
    """

    def __init__(self, around: Surroundings, engine: Engine, record: Record) -> None:
        self._around = around
        self._engine = engine
        self._record = record
        #: Nodes that are being drained, by name.
        self._draining: dict[str, int] = {}
        #: Nodes that the master did not know, and that were ended for that.
        self._strangers: set[str] = set()

    def drain(self, names: Iterable[str]) -> None:
        """Wait until nothing needs the nodes any more, as long as that goes on.

        Raises:
            TimedOutError: it goes on no more.
        """
        record, around, names = self._record, self._around, tuple(names)
        self._end_strangers(names)
        leaving = self._known_ids(names)
        # From here on a node is started as the one that it is: over an empty directory it would join anew.
        record.keep_ids(leaving)
        running = self._engine.look(record.spec).running
        for name in leaving.keys() - running:
            self._engine.start_node(record.spec, record.spec.node(name))
        credentials = record.credentials()
        for name, node_id in leaving.items():
            self._draining[name] = node_id
            around.health.drain_node(record.spec, credentials, node_id, cancel=False)
        self._await_drained(leaving)

    def forget(self, names: Iterable[str]) -> None:
        """Have the master forget drained nodes, and have each gone on the record at once: for it there is no way back.

        Raises:
            ConflictError: a chunk needs its copy there, or the node joined meanwhile.
        """
        for name in names:
            for node_id in self._known_ids([name]).values():
                if name not in self._draining:
                    raise ConflictError(f"{name} joined while it was let go; say the same again.")
                self._around.health.forget_node(self._record.spec, self._record.credentials(), node_id)
            self._take_off(name)

    def delete(self, names: Iterable[str]) -> None:
        """End nodes that are gone, and delete their volumes; this command or one before it let them go.

        Raises:
            ConflictError: one of them is not gone.
        """
        names = tuple(names)
        spec = self._record.spec
        gone = {node.name: node for node in spec.gone if node.name not in spec.roles}
        kept = [name for name in names if name not in gone]
        if kept:
            raise ConflictError(f"The master did not forget {kept[0]}, so its volume is kept.")
        if not names:
            return
        self._around.progress(f"stopping {', '.join(names)}")
        self._engine.stop(spec.with_gone, names)
        for name in names:
            self._around.progress(f"deleting the volume of {name}")
            self._engine.discard_node(spec, gone.pop(name))
            self._record.keep(replace(spec, gone=tuple(gone.values())))

    def take_back(self) -> None:
        """Let those serve on that the master still knows. With those that it forgot, go on to the end.

        Raises:
            UnavailableError: says what could not be done; all else was.
        """
        troubles: list[str] = []
        if self._draining:
            self._cancel_drains(troubles)
        for name in sorted(self._strangers):
            try:
                self._engine.start_node(self._record.spec, self._record.spec.node(name))
            except (DfsError, OSError) as error:
                troubles.append(f"{name} does not start: {error}")
        try:
            self.delete(node.name for node in self._record.spec.gone)
        except (DfsError, OSError) as error:
            troubles.append(str(error))
        if troubles:
            raise UnavailableError("; ".join(troubles))

    # -- inside -------------------------------------------------------------------------------------------------

    def _await_drained(self, leaving: Mapping[str, int]) -> None:
        around, names = self._around, ", ".join(leaving)
        before, patience = (-1, ""), Deadline(around.clock, DRAIN_SECONDS)
        while progress := self._undrained(leaving):
            left = sum(each.chunks_left for each in progress.values())
            # Damage may only seem so while nodes that just came back list their chunks: it is said, and waited for.
            damage = " ".join(filter(None, (damaged_sentence(name, each) for name, each in progress.items())))
            if (left, damage) != before:
                around.progress(f"draining {names}: {plural(left, 'chunk')} left. {damage}".rstrip(". "))
                before, patience = (left, damage), Deadline(around.clock, DRAIN_SECONDS)
            if patience.passed():
                why = damage or "are the other nodes live, and have they space? See `dfs status`."
                raise TimedOutError(f"Draining {names} makes no progress with {plural(left, 'chunk')} left; {why}")
            around.clock.sleep(_DRAIN_POLL_SECONDS)

    def _undrained(self, leaving: Mapping[str, int]) -> dict[str, DrainProgressReply]:
        """What still needs the nodes, by name; those that nothing needs are left out."""
        spec, credentials, health = self._record.spec, self._record.credentials(), self._around.health
        found = {name: health.drain_progress(spec, credentials, node_id) for name, node_id in leaving.items()}
        return {name: progress for name, progress in found.items() if progress.chunks_left}

    def _cancel_drains(self, troubles: list[str]) -> None:
        try:
            known = self._known()
        except DfsError as error:
            troubles.append(f"{', '.join(self._draining)} may still be drained: {error}")
            return
        for name, node_id in tuple(self._draining.items()):
            if node_id not in known.values():
                # The master forgot it, and we were interrupted before we heard so.
                self._take_off(name)
                continue
            try:
                self._around.health.drain_node(self._record.spec, self._record.credentials(), node_id, cancel=True)
            except DfsError as error:
                troubles.append(f"{name} is still drained: {error}")

    def _take_off(self, name: str) -> None:
        spec = self._record.spec
        node = spec.node(name)
        staying = tuple(each for each in spec.nodes if each is not node)
        self._record.keep(replace(spec, nodes=staying, gone=(*spec.gone, node)))
        self._draining.pop(name, None)
        self._strangers.discard(name)

    def _known(self) -> dict[str, int]:
        return self._around.health.known_nodes(self._record.spec, self._record.credentials())

    def _known_ids(self, names: Iterable[str]) -> dict[str, int]:
        """Ids by name of those nodes that the master knows, by their names or else by the ids on record.

        The description may lack an id: the deploy that would have noted it was killed.
        """
        known = self._known()
        found = {}
        for name in names:
            noted = self._record.spec.node(name).id
            if name in known:
                found[name] = known[name]
            elif noted is not None and noted in known.values():
                found[name] = noted
        return found

    def _end_strangers(self, names: tuple[str, ...]) -> None:
        """End the nodes that the master does not know, so that none of them joins while it is let go.

        One that joined once gets a moment before: a master with an older database lets it in again.
        """
        strangers = set(names) - self._known_ids(names).keys()
        if not strangers:
            return
        spec = self._record.spec
        found = self._engine.look(spec)
        returning = {name for name in strangers if spec.node(name).id is not None or name in found.joined}
        for name in sorted(returning - found.running):
            self._engine.start_node(spec, spec.node(name))
        deadline = Deadline(self._around.clock, RETURN_SECONDS)
        while returning and not deadline.passed():
            self._around.clock.sleep(_DRAIN_POLL_SECONDS)
            returning -= self._known_ids(returning).keys()
        ended = sorted(strangers - self._known_ids(strangers).keys())
        if ended:
            self._engine.stop(spec, ended)
        # Those that came in at the last moment are drained like all others.
        self._strangers = set(ended) - self._known_ids(ended).keys()
