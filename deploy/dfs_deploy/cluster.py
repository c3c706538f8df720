"""The commands on clusters: deploy, scale, start, stop, destroy. Each plans, takes the lock, and carries out."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import msgspec

from dfs_deploy.engine import Engine
from dfs_deploy.plan import (
    LISTEN_DEFAULT,
    Change,
    DeployRequest,
    Found,
    SaveSpec,
    Steps,
    TakePorts,
    plan_deploy,
    plan_destroy,
    plan_replace,
    plan_shrink,
    plan_start,
    plan_stop,
    settle,
    without_nodes,
)
from dfs_deploy.ports import PORT_DEFAULT, Probe, choose_ports, reserved_ports
from dfs_deploy.run import Run, undo_quietly
from dfs_deploy.spec import ClusterSpec, check_name
from dfs_deploy.state import is_unfinished_description
from dfs_deploy.surroundings import Surroundings
from dfs_deploy.upgrade import RollingUpgrade
from dfs_deploy.upgrade_plan import roles_to_upgrade
from dfs_wire.errors import ConflictError, NotFoundError, RolledBackError, UnavailableError, UsageError

#: Somebody else may take a port between our look and our start: then a new cluster tries other ones.
PORT_ATTEMPTS = 3


class _Attempt(msgspec.Struct):
    """What an attempt at a deploy had settled on before it failed."""

    wanted: ClusterSpec | None = None


class Operator:
    """Changes clusters. Used by one thread; locks keep other processes away from the cluster at work."""

    def __init__(
        self,
        around: Surroundings,
        engines: Mapping[str, Engine],
        probe: Probe,
        choose_engine: Callable[[], str] = lambda: "process",
    ) -> None:
        self._around = around
        self._store = around.store
        self._engines = engines
        self._probe = probe
        #: What `--engine auto` means for a new cluster.
        self._choose_engine = choose_engine

    def engine(self, name: str) -> Engine:
        """The engine of that name.

        Raises:
            UsageError: this version has none.
            UnavailableError: it does not answer.
        """
        if name not in self._engines:
            known = ", ".join(sorted(self._engines))
            raise UsageError(f"This version has no {name} engine; use one of: {known}.")
        return self._engines[name]

    def deploy(self, request: DeployRequest) -> Change:
        """Make a cluster, or change it to what is asked for, and wait until it works.

        Raises:
            UsageError: the request contradicts itself or the cluster.
            ConflictError: the port, the directory or the profile's name is taken.
            RolledBackError: a role did not come up; what this call made is removed again.
            UsageError: the master refused a setting; the cluster runs without it.
        """
        check_name(request.name)
        if request.context and request.engine == "process":
            raise UsageError("Local processes have no Docker context; leave --context or --engine process out.")
        with self._store.locked(request.name):
            change = self._deploy(request)
        for setting, value in request.settings:
            self._around.health.change_setting(change.spec, self._store.credentials(request.name), setting, value)
        return change

    def remove_node(self, name: str, node: str) -> Change:
        """Drain one node and let it go.

        Raises:
            NotFoundError: there is no such cluster or node.
            UsageError: the others are too few for the copies that are kept.
        """
        with self._store.locked(name):
            spec = self._store.load(name)
            # One that is gone already: a command that was killed is said again, and finished.
            if node not in spec.with_gone.roles[1:]:
                raise NotFoundError(f"Cluster {name!r} has no {node}; see `dfs node list`.")
            return self._shrink(without_nodes(spec, [node]), spec)

    def replace_node(self, name: str, node: str) -> Change:
        """Let one node join anew with an empty volume; what is left of its old one is deleted.

        Raises:
            NotFoundError: there is no such cluster or node.
            UnavailableError: the node did not come up; `start` tries again.
        """
        with self._store.locked(name):
            spec = self._store.load(name)
            engine = self.engine(spec.engine_key)
            return self._carry_out(engine, spec, plan_replace(spec, engine.look(spec), node))

    def scale(self, name: str, nodes: int) -> Change:
        """Change a cluster to so many nodes; those that go are drained first, the highest numbers first.

        Raises:
            NotFoundError: there is no such cluster, or it was destroyed.
            UsageError: fewer nodes than copies are asked for.
        """
        with self._store.locked(name):
            spec = self._store.load(name)
            if spec.destroyed:
                raise NotFoundError(f"Cluster {name!r} was destroyed; `dfs deploy --name {name}` brings it back.")
            return self._deploy(DeployRequest(name=name, nodes=nodes))

    def start(self, name: str) -> Change:
        """Start what is dead of a cluster, over its data, and wait until all nodes are live.

        Raises:
            NotFoundError: there is no such cluster, or it was destroyed.
            UnavailableError: a role did not come up; those that did go on running.
        """
        with self._store.locked(name):
            spec = self._store.load(name)
            engine = self.engine(spec.engine_key)
            return self._carry_out(engine, spec, plan_start(spec, engine.look(spec)))

    def stop(self, name: str) -> Change:
        """End the processes of a cluster; its data stays.

        Raises:
            NotFoundError: there is no such cluster.
        """
        with self._store.locked(name):
            spec = self._store.load(name)
            engine = self.engine(spec.engine_key)
            return self._carry_out(engine, spec, plan_stop(spec, engine.look(spec)))

    def destroy(self, name: str, *, delete_data: bool) -> Change:
        """End a cluster and forget its profile; its data stays unless `delete_data`.

        Raises:
            NotFoundError: there is no such cluster.
        """
        with self._store.locked(name):
            spec = self._store.load(name)
            engine = self.engine(spec.engine_key)
            return self._carry_out(engine, spec, plan_destroy(spec, engine.look(spec), delete_data=delete_data))

    def upgrade(self, name: str, *, everything: bool) -> tuple[str, ...]:
        """Bring a running cluster to this version, one role at a time; the roles that were replaced.

        Raises:
            NotFoundError: there is no such cluster, or it was destroyed.
            UnavailableError: a role does not run, or did not come back; then all of them are of the version before.
        """
        with self._store.locked(name):
            spec = self._store.load(name)
            engine = self.engine(spec.engine_key)
            roles = roles_to_upgrade(spec, engine.look(spec), engine.outdated(spec), everything=everything)
            if roles:
                RollingUpgrade(self._around, engine, spec, self._store.credentials(name)).carry_out(roles)
            return roles

    # -- inside -------------------------------------------------------------------------------------------------

    def _deploy(self, request: DeployRequest) -> Change:
        existing = self._store.find(request.name)
        if existing is None and request.engine == "auto":
            # Whoever names a context wants containers there, and no processes here instead.
            request = replace(request, engine="docker" if request.context else self._choose_engine())
        self.engine(_engine_key(request) if existing is None else existing.engine_key)
        if existing is not None and request.nodes is not None and request.nodes < len(existing.nodes):
            change = self._shrink(settle(request, existing, self._take_ports(request, existing)), existing)
            self._around.profiles.choose(request.name)
            return change
        may_retry = request.port is None and existing is None
        for _ in range(PORT_ATTEMPTS - 1 if may_retry else 0):
            attempt = _Attempt()
            try:
                return self._attempt(request, attempt)
            except UnavailableError:
                if not self._lost_ports(attempt.wanted):
                    raise
                self._around.progress("another program took one of the ports; choosing others")
        return self._attempt(request, _Attempt())

    def _carry_out(self, engine: Engine, spec: ClusterSpec, steps: Steps) -> Change:
        run = Run(self._around, engine, spec)
        run.carry_out(steps)
        return Change(run.spec, steps)

    def _attempt(self, request: DeployRequest, attempt: _Attempt) -> Change:
        """One attempt at a deploy; whatever ends it early (Ctrl-C too) is undone."""
        undo: Callable[[], None] | None = None
        try:
            # Ports are ours from the moment that the description is saved: until then nobody else may choose any.
            with self._store.ports_locked():
                existing = self._store.find(request.name)
                if existing is None:
                    self._check_name_is_free(request.name)
                wanted = settle(request, existing, self._take_ports(request, existing))
                attempt.wanted = wanted
                engine = self.engine(wanted.engine_key)
                steps = plan_deploy(wanted, existing, self._look(engine, wanted))
                run = Run(self._around, engine, wanted)
                undo = partial(run.undo, existing)
                run.carry_out(step for step in steps if isinstance(step, SaveSpec))
            run.carry_out(step for step in steps if not isinstance(step, SaveSpec))
            self._around.profiles.choose(wanted.name)
        except BaseException as error:
            if undo is not None:
                undo_quietly(undo, self._around.progress)
                if isinstance(error, UnavailableError):
                    raise RolledBackError(error.message) from error
            raise
        return Change(run.spec, steps)

    def _shrink(self, wanted: ClusterSpec, existing: ClusterSpec) -> Change:
        """Let nodes go. When that ends early, those serve on that the master did not forget yet."""
        engine = self.engine(existing.engine_key)
        steps = plan_shrink(wanted, existing, self._look(engine, existing))
        run = Run(self._around, engine, existing)
        try:
            run.carry_out(steps)
        except BaseException:
            undo_quietly(run.keep_the_rest, self._around.progress)
            raise
        return Change(run.spec, steps)

    def _look(self, engine: Engine, spec: ClusterSpec) -> Found:
        found = engine.look(spec)
        if not found.master_initialised:
            return found
        credentials = self._store.credentials(spec.name)
        return replace(found, profile_current=self._around.profiles.is_current(spec, credentials))

    def _check_name_is_free(self, name: str) -> None:
        """A new cluster never goes where something else is: its rollback would delete that."""
        root = self._store.paths(name).root
        if root.exists() and not all(is_unfinished_description(entry.name) for entry in root.iterdir()):
            raise ConflictError(f"{root} exists and is no cluster; move it away, or use another --name.")
        if self._around.profiles.exists(name):
            raise ConflictError(
                f"The profile {name!r} belongs to another cluster; use another --name, or delete profiles/{name}.toml "
                "below DFS_HOME if that cluster is gone."
            )

    def _take_ports(self, request: DeployRequest, existing: ClusterSpec | None) -> TakePorts:
        clusters = [self._store.load(name) for name in self._store.names()]
        reserved = reserved_ports(clusters, besides=request.name)
        own = existing.ports if existing is not None else frozenset()
        context = request.context if existing is None else existing.context
        host = (request.listen or LISTEN_DEFAULT) if existing is None else existing.listen

        def take(count: int, first: int | None) -> list[int]:
            return choose_ports(
                count=count,
                first=first,
                host=host,
                reserved=reserved | dict.fromkeys(own, request.name),
                # The ports of another machine cannot be probed from here; its engine says when one is taken.
                probe=_always_free if context else self._probe,
                after=max(own, default=PORT_DEFAULT),
            )

        return take

    def _lost_ports(self, spec: ClusterSpec | None) -> bool:
        """Whether somebody else listens on a port that was chosen; nothing of ours does after the undo."""
        return spec is not None and not spec.context and any(not self._probe(spec.listen, port) for port in spec.ports)


def _engine_key(request: DeployRequest) -> str:
    return f"{request.engine}@{request.context}" if request.context else request.engine


def _always_free(_host: str, _port: int) -> bool:
    return True
