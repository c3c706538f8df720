"""Real containers: `make_cluster` for one test, `shared_cluster` for all. Nothing of them is left behind.

Without a Docker Engine these tests are skipped, and fail where CI=true.
"""

import faulthandler
import json
import os
import secrets
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.context import ContextAPI
from tests.support.docker_cluster import (
    HOME_PREFIX,
    DockerCluster,
    engine_answers,
    homes_of_dead_runs,
    is_ci,
    remove_by_home,
)

from dfs_deploy.docker_engine.sdk import DockerSdk
from dfs_deploy.image.builder import ImageBuilder, image_cache

#: What a test may take on a busy machine, without its fixtures.
SECONDS = 300
#: What fixtures may take: making a base, an image and a cluster; and taking a cluster away.
SETUP_SECONDS = 1_200
TEARDOWN_SECONDS = 240

MakeCluster = Callable[..., DockerCluster]


@dataclass(frozen=True, slots=True)
class Planted:
    """A secret that must turn up nowhere, and an environment that is full of it."""

    secret: str
    env: Mapping[str, str]


_left_out: list[pytest.Item] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Containers take longer than anything else, and without an engine there are none."""
    ours = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in ours:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SECONDS, func_only=True))
    if ours and not is_ci() and not engine_answers():
        _left_out.extend(ours)
        items[:] = [item for item in items if item not in ours]
        config.hook.pytest_deselected(items=ours)


@contextmanager
def _at_most(seconds: int, what: str) -> Iterator[None]:
    """Fail when a block takes longer, wherever it hangs. The plugin's own limit, which uses the same signal, holds
    for the tests themselves only: it would count the making of an image to the first test.
    """

    def give_up(_number: int, _frame: object) -> None:
        faulthandler.dump_traceback(all_threads=True)
        pytest.fail(f"{what} did not end within {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Bound what fixtures do before a test."""
    with _at_most(SETUP_SECONDS, f"what {item.name} needs"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Bound what fixtures do behind a test."""
    with _at_most(TEARDOWN_SECONDS, f"tidying up behind {item.name}"):
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what was left out."""
    if _left_out:
        terminalreporter.write_line(f"SKIPPED [{len(_left_out)}] tests/e2e: no Docker Engine answers", yellow=True)


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The Docker Engine, rid of what killed runs of these tests left."""
    if not engine_answers():
        pytest.fail("no Docker Engine answers; .ci/engine starts one")
    with closing(docker.from_env(timeout=120)) as client:
        for home in homes_of_dead_runs(client):
            remove_by_home(client, home)
        yield client


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient, request: pytest.FixtureRequest) -> str:
    """The image of the code under test, made by the deploy module's own builder."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")

    def tell(text: str) -> None:
        if reporter is not None:
            reporter.write_line(f"e2e: {text}")

    with closing(DockerSdk.connect()) as sdk:
        builder = ImageBuilder(sdk, image_cache(), tell, tell)
        # Also where it is there: a test that makes it anew, behind a proxy that leads nowhere, needs the wheels.
        return builder.ensure(builder.ensure_base())


@pytest.fixture(scope="session")
def home(engine: docker.DockerClient) -> Iterator[Path]:
    """A `DFS_HOME` for all clusters of this run; at the end all that is labelled with it goes."""
    with tempfile.TemporaryDirectory(prefix=f"{HOME_PREFIX}{os.getpid()}-") as directory:
        try:
            yield Path(directory)
        finally:
            for below in Path(directory).iterdir():
                remove_by_home(engine, str(below))


def _clusters(engine: docker.DockerClient, home: Path) -> Iterator[MakeCluster]:
    with ExitStack() as made:

        def make(*options: str, deploy: bool = True, env: Mapping[str, str] | None = None) -> DockerCluster:
            cluster = DockerCluster(engine, home / secrets.token_hex(4), f"e2e-{secrets.token_hex(4)}")
            cluster.env |= env or {}
            made.callback(cluster.close)
            if deploy:
                cluster.deploy(*options)
            return cluster

        yield make


@pytest.fixture
def make_cluster(engine: docker.DockerClient, image: str, home: Path) -> Iterator[MakeCluster]:
    """Makes clusters for one test, with the options of `dfs deploy`."""
    assert image
    yield from _clusters(engine, home)


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Secrets where those of people stand who deploy: in their environment, and in their settings of Docker."""
    secret = f"planted-{secrets.token_hex(12)}"
    proxy = f"http://somebody:{secret}@127.0.0.1:9"
    directory = tmp_path_factory.mktemp("docker-config")
    settings = {"httpProxy": proxy, "httpsProxy": proxy, "noProxy": "localhost"}
    (directory / "config.json").write_text(json.dumps({"proxies": {"default": settings}}))
    address = os.environ.get("DOCKER_HOST") or ContextAPI.kwargs_from_context().get("base_url", "")
    env = {"HTTPS_PROXY": proxy, "https_proxy": proxy, "FTP_PROXY": proxy, "SOME_PASSWORD": secret}
    env |= {"DOCKER_CONFIG": str(directory), "DOCKER_HOST": address or "unix:///var/run/docker.sock"}
    return Planted(secret, env)


@pytest.fixture(scope="session")
def shared_cluster(engine: docker.DockerClient, image: str, home: Path, planted: Planted) -> Iterator[DockerCluster]:
    """A master and three nodes for the whole run: leave them running, and use paths of your own."""
    assert image
    for make in _clusters(engine, home):
        yield make("--nodes", "3", env=planted.env)
