"""Which versions of which dependencies go into the image: those of the installation that deploys."""

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dfs_deploy.image.own_packages import DISTRIBUTION

#: The Python of both bases; the host's may be newer.
PYTHON = "3.11"
#: With this the image installs the others; it does not stay in it.
INSTALLER = "pip"

#: What Docker calls an architecture -> what wheels call it.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "x86_64": "x86_64", "aarch64": "aarch64"}

#: `name -> (version, requirements)` of an installed distribution; None when it is not installed.
Installed = Callable[[str], tuple[str, Sequence[str]] | None]


def installed_distribution(name: str) -> tuple[str, Sequence[str]] | None:
    """What this Python has installed under a name."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    return found.version, found.requires or ()


def pinned_requirements(machine: str, installed: Installed = installed_distribution) -> list[str]:
    """The dependencies of dfs and theirs, each as `name==version`, sorted.

    What Python 3.11 needs and the host's Python does not have stays a range: then pip takes the newest that fits.
    `machine` is the architecture as wheels call it.
    """
    environment = _image_environment(machine)
    pins: dict[str, str] = {}
    waiting = _needed(installed(DISTRIBUTION), (), environment)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        found = installed(requirement.name)
        if found is None:
            pins.setdefault(name, f"{name}{requirement.specifier}")
            continue
        key = f"{name}[{','.join(sorted(requirement.extras))}]" if requirement.extras else name
        if key not in pins:
            pins[key] = f"{name}=={found[0]}"
            waiting += _needed(found, tuple(requirement.extras), environment)
    return sorted(set(pins.values()))


def _needed(
    found: tuple[str, Sequence[str]] | None, extras: Sequence[str], environment: dict[str, str]
) -> list[Requirement]:
    """The requirements of a distribution that hold in the image."""
    parsed = [Requirement(text) for text in (found[1] if found is not None else ())]
    return [each for each in parsed if _holds(each, extras, environment)]


def _holds(requirement: Requirement, extras: Sequence[str], environment: dict[str, str]) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras))


def _image_environment(machine: str) -> dict[str, str]:
    """How markers see the inside of the image, whatever the host is."""
    host = {name: str(value) for name, value in default_environment().items()}
    return host | {
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "python_version": PYTHON,
        "python_full_version": f"{PYTHON}.0",
    }
