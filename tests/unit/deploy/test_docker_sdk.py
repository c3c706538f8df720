"""The border to the Docker SDK: foreign errors become ours, and what the engine says is read rightly."""

import hashlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from requests import Response
from requests.exceptions import ConnectionError as NoConnectionError

from dfs_deploy.docker_engine import sdk as sdk_module
from dfs_deploy.docker_engine.follow import follow_containers, lines_of
from dfs_deploy.docker_engine.sdk import DockerSdk, FoundNetwork, translated
from dfs_deploy.engines import Engines
from dfs_deploy.process_engine import ProcessEngine
from dfs_deploy.state import StateStore
from dfs_runtime.clock import ManualClock
from dfs_wire.errors import ConflictError, DfsError, NotFoundError, UnavailableError, UsageError


def api_error(status: int, why: str) -> APIError:
    """What the SDK raises."""
    response = Response()
    response.status_code = status
    return APIError("failed", response=response, explanation=why)


def over(**parts: Any) -> DockerSdk:
    """Ours over a client that has only these parts."""
    return DockerSdk(cast("docker.DockerClient", SimpleNamespace(**parts)))


def raising(error: Exception) -> Any:
    """A method that fails."""

    def method(*_: object, **__: object) -> None:
        raise error

    return method


@pytest.mark.parametrize(
    ("foreign", "ours", "words"),
    [
        (api_error(409, "name is in use."), ConflictError, "It failed: name is in use."),
        (api_error(500, "port is already allocated"), UnavailableError, "It failed: port is already allocated."),
        (DockerException("no socket"), UnavailableError, "no socket"),
        (NoConnectionError("refused"), UnavailableError, "refused"),
    ],
)
def test_foreign_errors_become_ours(foreign: Exception, ours: type[DfsError], words: str) -> None:
    """One sentence with the engine's reason."""
    with pytest.raises(ours) as caught, translated("It failed"):
        raise foreign
    assert words in str(caught.value)


class Images:
    """Makes an image, or cannot."""

    def __init__(self, error: DfsError | None = None) -> None:
        self.error = error

    def ensure(self) -> str:
        if self.error is not None:
            raise self.error
        return "dfs:1"


def engines(directory: Path, said: list[str], images: Images) -> Engines:
    """Engines whose images are these."""
    clock = ManualClock()
    made = Engines(StateStore(directory, clock), directory, clock, {}, progress=said.append, say=said.append)
    made.__dict__["images"] = images
    return made


def test_an_engine_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`connect` says what to do, and `auto` means processes."""
    monkeypatch.setattr(sdk_module.docker, "from_env", raising(DockerException("no socket")))
    with pytest.raises(UnavailableError, match="--engine process"):
        DockerSdk.connect()
    assert engines(tmp_path, [], Images()).for_new_clusters() == "process"


def test_an_engine_without_an_image_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`auto` never fails for want of an image: it says so, and means processes."""
    client = SimpleNamespace(ping=lambda: True, close=lambda: None)
    monkeypatch.setattr(sdk_module.docker, "from_env", lambda **_: client)
    said: list[str] = []
    assert engines(tmp_path, said, Images(UnavailableError("Install mmdebstrap."))).for_new_clusters() == "process"
    assert "Install mmdebstrap." in said[0]


def test_an_engine_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And let go of after the question."""
    closed: list[bool] = []
    client = SimpleNamespace(ping=lambda: True, close=lambda: closed.append(True))
    monkeypatch.setattr(sdk_module.docker, "from_env", lambda **_: client)
    assert engines(tmp_path, [], Images()).for_new_clusters() == "docker"
    assert closed == [True]


def test_what_is_gone_is_no_error() -> None:
    """Removing and looking up are the same after the end as before."""
    gone = raising(NotFound("gone"))
    containers = SimpleNamespace(get=gone)
    sdk = over(
        containers=containers,
        volumes=SimpleNamespace(get=gone),
        images=SimpleNamespace(get=raising(ImageNotFound("gone"))),
    )
    sdk.remove("x")
    sdk.stop("x", 1)
    sdk.remove_volume("x")
    assert sdk.image_labels("x") is None
    assert sdk.log_tail("x", 5) == b""
    assert list(sdk.follow_log("x", 0)) == []
    with pytest.raises(NotFoundError, match="/data/f"):
        list(sdk.get_archive("x", "/data/f"))


def test_a_build_that_fails_says_which_step_and_what_it_wrote() -> None:
    """Colours and the engine's own remarks are left out."""
    events = [
        {"stream": "Step 1/2 : RUN pip\n"},
        {"stream": " ---> Running in 12\n"},
        {"stream": "\x1b[91mno wheel for a\x1b[0m\n"},
        {"error": "returned a non-zero code: 1"},
    ]
    sdk = over(api=SimpleNamespace(build=lambda **_: iter(events)))
    with pytest.raises(UnavailableError) as caught:
        sdk.build(io.BytesIO(), reference="dfs:1", arguments={}, labels={})
    assert "non-zero code: 1 (before that: Step 1/2 : RUN pip / no wheel for a)" in str(caught.value)


def test_a_network_is_found_by_its_whole_name() -> None:
    """The engine's own filter takes parts of names."""

    def network(name: str, labels: object) -> SimpleNamespace:
        return SimpleNamespace(name=name, attrs={"Labels": labels})

    known = [network("dfs-a-b", {"of": "another"}), network("dfs-a", {"a": "b"}), network("dfs-c", None)]
    sdk = over(networks=SimpleNamespace(list=lambda names: [each for each in known if names[0] in each.name]))
    found = sdk.find_network("dfs-a")
    assert found == FoundNetwork("dfs-a", {"a": "b"})
    assert sdk.find_network("dfs-c") == FoundNetwork("dfs-c", {})
    assert sdk.find_network("dfs") is None


def test_lines_come_whole_out_of_any_pieces() -> None:
    """Also out of the middle of a character, and the last one without its end."""
    assert list(lines_of([b"on", b"e\ntw", b"o\n\xc3", b"\xa4\nend"])) == ["one", "two", "ä", "end"]


def test_following_goes_on_over_a_restart_and_ends_with_the_engine() -> None:
    """Pieces of a container that stopped and came back, then the engine is gone."""
    lives = [[b"first life\n"], [b"second life\n"]]

    def follow(_container: str, _since: int) -> list[bytes]:
        if not lives:
            raise UnavailableError("the engine is gone")
        return lives.pop(0)

    found = follow_containers(follow, {"master": "dfs-a-master"}, 0, ManualClock())
    assert [next(found).text, next(found).text] == ["first life", "second life"]
    with pytest.raises(UnavailableError):
        next(found)


def test_a_cluster_of_processes_asks_no_docker_engine(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines are made when they are asked for, once."""
    monkeypatch.setattr(sdk_module.docker, "from_env", raising(DockerException("no socket")))
    clock = ManualClock()
    said: list[str] = []
    engines = Engines(StateStore(tmp_path, clock), tmp_path, clock, {}, progress=said.append, say=said.append)
    assert sorted(engines) == ["docker", "process"]
    assert len(engines) == 2
    assert isinstance(engines["process"], ProcessEngine)
    assert engines["process"] is engines["process"]
    assert "docker" in engines
    with pytest.raises(UnavailableError):
        engines["docker"]


def test_a_context_leads_to_its_engine(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the machine's own `ssh` where it says so; an unknown name is refused and never means this machine."""
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"far").hexdigest()
    meta.mkdir(parents=True)
    endpoint = {"docker": {"Host": "ssh://me@far", "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": endpoint}))
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    asked: list[dict[str, object]] = []

    def client(**options: object) -> SimpleNamespace:
        asked.append(options)
        return SimpleNamespace(ping=lambda: True)

    monkeypatch.setattr(sdk_module.docker, "DockerClient", client)
    DockerSdk.connect("far", seconds=7)
    assert asked == [{"base_url": "ssh://me@far", "timeout": 7, "use_ssh_client": True}]
    with pytest.raises(UsageError, match="no Docker context 'near'"):
        DockerSdk.connect("near")
    monkeypatch.setenv("DOCKER_CONTEXT", "near")
    with pytest.raises(UsageError, match="no Docker context 'near'"):
        DockerSdk.connect()
