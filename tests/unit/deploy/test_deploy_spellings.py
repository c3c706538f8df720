"""One home under several names: what runs over it is found under each, and nothing is deleted under a process."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.deploy import fake_programs, make_spec, pid_alive

from dfs_deploy.process_engine import ProcessEngine
from dfs_deploy.state import StateStore
from dfs_runtime.clock import SystemClock
from dfs_runtime.files import exclusive_lock
from dfs_wire.errors import ConflictError

SPEC = make_spec(nodes=1)


class Homes:
    """Engines over several spellings of homes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.programs = fake_programs(root)
        self.home = root / "home"
        self.engine = self.over(self.home)
        StateStore(root / "home", SystemClock()).save(SPEC)
        self.engine.initialise_master(SPEC)
        self.engine.start_master(SPEC)
        self.engine.start_node(SPEC, SPEC.nodes[0])
        StateStore(root / "home", SystemClock()).paths("demo").volume("node-1").mkdir()
        self.pids = {role: process.pid for role, process in self.engine.processes(SPEC).items()}

    def over(self, home: Path) -> ProcessEngine:
        """The next command's engine, with this `DFS_HOME`."""
        store = StateStore(home, SystemClock())
        environ = {"PATH": os.environ["PATH"]}
        return ProcessEngine(store, home, SystemClock(), programs=lambda name: self.programs[name], environ=environ)


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Homes]:
    """A master and a node run over the first home; afterwards nothing does."""
    made = Homes(tmp_path)
    yield made
    made.over(made.home).stop(SPEC, SPEC.roles)
    made.engine.look(SPEC)  # which reaps them
    assert not any(pid_alive(pid) for pid in made.pids.values())


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("spelling", ["link", "other/../home"])
def test_processes_are_found_under_another_spelling(homes: Homes, spelling: str, noted: bool) -> None:
    """By pid files, and without them by command lines."""
    (homes.root / "link").symlink_to("home")
    (homes.root / "other").mkdir()
    if not noted:
        shutil.rmtree(homes.root / "home" / "clusters" / "demo" / "run")
    assert homes.over(homes.root / spelling).look(SPEC).running == set(SPEC.roles)


def test_processes_are_found_where_the_home_was_moved(homes: Homes) -> None:
    """Their command lines lead nowhere, but their pid files moved along."""
    homes.home = homes.home.rename(homes.root / "moved")
    assert homes.over(homes.home).look(SPEC).running == set(SPEC.roles)


def test_processes_are_not_those_of_a_copied_home(homes: Homes) -> None:
    """The pid files were copied along; `destroy` of the copy must not end the original."""
    shutil.copytree(homes.root / "home", homes.root / "copy")
    copy = homes.over(homes.root / "copy")
    assert copy.look(SPEC).running == set()
    copy.stop(SPEC, SPEC.roles)
    copy.remove(SPEC)
    assert all(pid_alive(pid) for pid in homes.pids.values())
    assert not (homes.root / "copy" / "clusters" / "demo").exists()


@pytest.mark.parametrize("place", ["master", "node-1/volume"])
def test_data_is_not_deleted_while_its_lock_is_held(homes: Homes, place: str) -> None:
    """By a process that no command line and no pid file tells of, as one that a person started."""
    homes.engine.stop(SPEC, SPEC.roles)
    directory = homes.root / "home" / "clusters" / "demo" / place
    directory.mkdir(exist_ok=True)
    with exclusive_lock(directory / "lock"):
        with pytest.raises(ConflictError, match=f"still uses {directory}"):
            homes.engine.remove(SPEC)
        if place != "master":
            with pytest.raises(ConflictError, match=f"still uses {directory}"):
                homes.engine.discard_node(SPEC, SPEC.nodes[0])
    assert StateStore(homes.root / "home", SystemClock()).load("demo") == SPEC
    assert (directory / "lock").exists()
    homes.engine.remove(SPEC)
    assert not directory.exists()
