"""The image is built when there is none of exactly this code, and its base is found or made."""

import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

from dfs_deploy.image import builder
from dfs_deploy.image.base import DEBIAN_BASE, OFFICIAL_BASE
from dfs_deploy.image.builder import DIGEST_LABEL, BuiltImage, ImageBuilder, plan_image, stale_images
from dfs_runtime.clock import SystemClock
from dfs_wire.errors import UnavailableError


@dataclass
class FakeStore:
    """Images in memory; `registry` holds those that can be pulled."""

    images: dict[str, dict[str, str]] = field(default_factory=dict)
    registry: set[str] = field(default_factory=set)
    built: list[dict[str, str]] = field(default_factory=list)
    contexts: list[list[str]] = field(default_factory=list)
    #: When images were made, of those that were not made just now (seconds since 1970).
    made_at: dict[str, int] = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)
    architecture: str = "amd64"

    def image_labels(self, reference: str) -> Mapping[str, str] | None:
        """Those of an image that is there."""
        return self.images.get(reference)

    def pull(self, reference: str) -> None:
        """From the registry."""
        if reference not in self.registry:
            raise UnavailableError(f"{reference} cannot be pulled: no such host.")
        self.images[reference] = {}

    def import_image(self, archive: Path, reference: str) -> None:
        """Of any archive."""
        assert archive.read_bytes() == b"tar"
        self.images[reference] = {}

    def build(
        self, context: BinaryIO, *, reference: str, arguments: Mapping[str, str], labels: Mapping[str, str]
    ) -> None:
        """Remember what was asked."""
        with tarfile.open(fileobj=io.BytesIO(context.read())) as archive:
            self.contexts.append(archive.getnames())
        self.built.append(dict(arguments))
        self.images[reference] = dict(labels)

    def remove_untagged(self, label: str) -> None:
        """Nothing to do."""

    def built_images(self, label: str) -> list[BuiltImage]:
        """Those with the label."""
        now = int(SystemClock().wall_ms() / 1_000)
        return [BuiltImage(name, self.made_at.get(name, now)) for name, have in self.images.items() if label in have]

    def remove_image(self, reference: str) -> None:
        """Unless it is in use."""
        if reference not in self.in_use:
            self.images.pop(reference, None)


@pytest.fixture
def said() -> list[str]:
    """What people were told."""
    return []


@pytest.fixture
def images(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[FakeStore, ImageBuilder]:
    """A store without images, and a builder that fetches no wheels and makes no Debian."""

    def wheels(*_: object) -> Path:
        (tmp_path / "pip-1-py3-none-any.whl").write_bytes(b"wheel")
        return tmp_path

    @contextmanager
    def debian() -> Iterator[Path]:
        (tmp_path / "base.tar").write_bytes(b"tar")
        yield tmp_path / "base.tar"

    monkeypatch.setattr(builder, "wheelhouse", wheels)
    monkeypatch.setattr(builder, "debian_tar", debian)
    store = FakeStore()
    return store, ImageBuilder(store, tmp_path, said.append, said.append)


def test_the_official_base_is_pulled_where_that_works(images: tuple[FakeStore, ImageBuilder]) -> None:
    """Then nothing is made of Debian's packages."""
    store, maker = images
    store.registry.add(OFFICIAL_BASE)
    reference = maker.ensure()
    assert store.built == [{"BASE": OFFICIAL_BASE}]
    assert store.images[reference]["org.opencontainers.image.base.name"] == OFFICIAL_BASE
    assert DEBIAN_BASE not in store.images


def test_without_a_registry_the_base_is_made_and_that_is_said(
    images: tuple[FakeStore, ImageBuilder], said: list[str]
) -> None:
    """Once: the next build finds it."""
    store, maker = images
    maker.ensure()
    assert store.built == [{"BASE": DEBIAN_BASE}]
    assert any("cannot be pulled" in line for line in said)
    assert any("Debian's packages" in line for line in said)
    said.clear()
    assert maker.ensure_base() == DEBIAN_BASE
    assert said == []


def test_an_image_of_this_code_is_not_built_again(images: tuple[FakeStore, ImageBuilder]) -> None:
    """One of other code under the same name is, and so is one on a base that was asked for."""
    store, maker = images
    reference = maker.ensure()
    assert maker.ensure() == reference
    assert len(store.built) == 1
    store.images[reference] = {DIGEST_LABEL: "older"}
    maker.ensure()
    assert len(store.built) == 2
    maker.ensure("my/python:3.11")
    assert store.built[-1] == {"BASE": "my/python:3.11"}


def test_the_context_holds_all_that_the_build_needs(images: tuple[FakeStore, ImageBuilder]) -> None:
    """Nothing comes from a network."""
    store, maker = images
    maker.ensure()
    (names,) = store.contexts
    assert names[:2] == ["Dockerfile", "requirements.txt"]
    assert "wheels/pip-1-py3-none-any.whl" in names
    assert names[-1].startswith("own/dfs-")


def test_an_unknown_architecture_is_refused() -> None:
    """There are no wheels for it."""
    with pytest.raises(UnavailableError, match="--engine process"):
        plan_image("s390x")


def test_the_reference_names_version_and_digest() -> None:
    """Another architecture has other wheels and so another image."""
    plan = plan_image("amd64")
    assert plan.reference.endswith(plan.digest[:12])
    assert plan.machine == "x86_64"
    assert plan_image("amd64") == plan


def test_a_build_takes_older_images_of_ours_away(images: tuple[FakeStore, ImageBuilder]) -> None:
    """Not those that containers use, not those that were made just now, and nobody else's."""
    store, maker = images
    others = {"dfs:0.1.0-old": {DIGEST_LABEL: "old"}, "dfs:0.1.0-used": {DIGEST_LABEL: "used"}, "dfs:mine": {}}
    store.images |= others | {"dfs:0.1.0-new": {DIGEST_LABEL: "new"}, "shop/dfs:1": {DIGEST_LABEL: "copied"}}
    store.made_at = dict.fromkeys(["dfs:0.1.0-old", "dfs:0.1.0-used", "dfs:mine", "shop/dfs:1"], 1_700_000_000)
    store.in_use = {"dfs:0.1.0-used"}
    reference = maker.ensure()
    left = {"dfs:0.1.0-used", "dfs:mine", "dfs:0.1.0-new", "shop/dfs:1", reference, DEBIAN_BASE}
    assert set(store.images) == left


def test_the_image_that_is_wanted_is_never_stale() -> None:
    """However old it is."""
    assert stale_images([BuiltImage("dfs:1-a", 0), BuiltImage("dfs:1-b", 0)], "dfs:1-a", 10_000) == ["dfs:1-b"]
