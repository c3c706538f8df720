"""Have the image of exactly this code: find it, or make it and its base."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from platformdirs import user_cache_path

from dfs_deploy.image import own_packages
from dfs_deploy.image.base import DEBIAN_BASE, OFFICIAL_BASE, debian_tar
from dfs_deploy.image.context import DOCKERFILE, write_context
from dfs_deploy.image.own_packages import OwnFile, digest_of, own_files, write_wheel
from dfs_deploy.image.requirements import MACHINES, pinned_requirements
from dfs_deploy.image.wheelhouse import wheelhouse
from dfs_runtime.clock import Clock, SystemClock
from dfs_wire.errors import UnavailableError

REPOSITORY = "dfs"
DIGEST_LABEL = "dfs.digest"
#: On the stage that is of no use after its build, as the Dockerfile has it.
STAGE_LABEL = "dfs.stage=own"
_DIGEST_SHOWN = 12
#: A younger image may be somebody's who has just built it and makes containers of it next.
_STALE_SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image of dfs, of whatever version, and when it was made (seconds since 1970)."""

    reference: str
    created_seconds: int


def stale_images(found: Iterable[BuiltImage], wanted: str, now_seconds: float) -> list[str]:
    """The images of older code, which nobody asks for any more; containers may still use some of them."""
    return [
        each.reference
        for each in found
        if each.reference.startswith(f"{REPOSITORY}:")
        and each.reference != wanted
        and now_seconds - each.created_seconds > _STALE_SECONDS
    ]


class ImageStore(Protocol):
    """The images of one container engine. Used by one thread. Every method may raise `UnavailableError`."""

    @property
    def architecture(self) -> str:
        """As the engine calls it: `amd64`, `arm64`."""
        ...

    def image_labels(self, reference: str) -> Mapping[str, str] | None:
        """The labels of an image that is there, or None."""
        ...

    def pull(self, reference: str) -> None:
        """Get an image from its registry."""
        ...

    def import_image(self, archive: Path, reference: str) -> None:
        """Make an image of one tar archive."""
        ...

    def build(
        self, context: BinaryIO, *, reference: str, arguments: Mapping[str, str], labels: Mapping[str, str]
    ) -> None:
        """Build an image from a context, a tar archive."""
        ...

    def remove_untagged(self, label: str) -> None:
        """Remove images without a name that carry a label (`key=value`); what they were built on stays as cache."""
        ...

    def built_images(self, label: str) -> list[BuiltImage]:
        """The images with a name that carry a label, whatever its value."""
        ...

    def remove_image(self, reference: str) -> None:
        """Remove an image that no container uses; one that is gone or in use is fine."""
        ...


def image_cache() -> Path:
    """Where this user keeps what images are made of; nothing is lost when it is deleted."""
    return user_cache_path("dfs")


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """The image that this code wants: `reference` names it, `digest` is over everything that goes into it."""

    reference: str
    digest: str
    machine: str
    requirements: tuple[str, ...]
    files: tuple[OwnFile, ...]


def plan_image(architecture: str) -> ImagePlan:
    """What the image of the running code is, for an engine's architecture.

    Raises:
        UnavailableError: there are no wheels for it.
    """
    machine = MACHINES.get(architecture)
    if machine is None:
        raise UnavailableError(f"There is no image for {architecture} machines; use --engine process there.")
    files = own_files()
    requirements = pinned_requirements(machine)
    digest = digest_of(files, DOCKERFILE.read_text("utf-8"), *requirements)
    reference = f"{REPOSITORY}:{own_packages.version()}-{digest[:_DIGEST_SHOWN]}"
    return ImagePlan(reference, digest, machine, tuple(requirements), tuple(files))


class ImageBuilder:
    """Makes images where they are missing. Used by one thread.

    `progress` gets a line about each thing that is done, `say` what a person should still see afterwards.
    """

    def __init__(
        self,
        store: ImageStore,
        cache: Path,
        progress: Callable[[str], None],
        say: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._cache = cache
        self._clock = clock or SystemClock()
        self._progress = progress
        self._say = say

    def ensure(self, base: str | None = None) -> str:
        """The reference of the image of this code, which is built when it is missing.

        An image of older code has another reference, so it is as good as missing.

        Raises:
            UnavailableError: a base, a wheel or the build could not be had.
        """
        plan = plan_image(self._store.architecture)
        labels = self._store.image_labels(plan.reference)
        if labels is not None and labels.get(DIGEST_LABEL) == plan.digest and base is None:
            return plan.reference
        self._build(plan, base or self.ensure_base())
        return plan.reference

    def ensure_base(self) -> str:
        """The reference of a base that is there: the official one, else one made of Debian's packages.

        Raises:
            UnavailableError: neither can be had.
        """
        for known in (OFFICIAL_BASE, DEBIAN_BASE):
            if self._store.image_labels(known) is not None:
                return known
        self._progress(f"pulling the base image {OFFICIAL_BASE}")
        try:
            self._store.pull(OFFICIAL_BASE)
        except UnavailableError as error:
            self._say(f"{error.message.rstrip('.')};")
            self._say("a base image is made from Debian's packages instead, which takes a minute or two, once")
            return self.make_base()
        return OFFICIAL_BASE

    def make_base(self) -> str:
        """Make the base image of Debian's packages, whether or not there is one; its reference.

        Raises:
            UnavailableError: mmdebstrap is missing, or failed.
        """
        self._progress(f"making the base image {DEBIAN_BASE} from Debian's packages")
        with debian_tar() as archive:
            self._store.import_image(archive, DEBIAN_BASE)
        return DEBIAN_BASE

    def _build(self, plan: ImagePlan, base: str) -> None:
        self._progress(f"collecting the {len(plan.requirements)} packages that dfs needs")
        key = digest_of([], *plan.requirements)[:32]
        wheels = wheelhouse(plan.requirements, plan.machine, self._cache / "wheelhouse", key)
        self._progress(f"building the image {plan.reference} on {base}")
        with tempfile.TemporaryDirectory(prefix="dfs-image-") as scratch, tempfile.TemporaryFile() as context:
            own = write_wheel(list(plan.files), Path(scratch))
            write_context(context, requirements=plan.requirements, wheels=wheels, own_wheel=own)
            self._store.build(
                context,
                reference=plan.reference,
                arguments={"BASE": base},
                labels={
                    DIGEST_LABEL: plan.digest,
                    "org.opencontainers.image.version": own_packages.version(),
                    "org.opencontainers.image.base.name": base,
                },
            )
        self._store.remove_untagged(STAGE_LABEL)
        for stale in stale_images(
            self._store.built_images(DIGEST_LABEL), plan.reference, self._clock.wall_ms() / 1_000
        ):
            self._store.remove_image(stale)
