"""CRC32C, without what its package loads besides: `importlib.metadata` and more, a sixth of a short command's time."""

import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crc32c import crc32c

__all__ = ["crc32c"]


def _load() -> "Callable[..., int]":
    """The function of the extension module inside the package; the package's own where that looks otherwise."""
    package = sys.modules.get("crc32c")
    spec = None if package is not None else PathFinder.find_spec("crc32c")
    if spec is not None and spec.submodule_search_locations is not None:
        inner = PathFinder.find_spec("_crc32c", spec.submodule_search_locations)
        if inner is not None and inner.loader is not None:
            module = module_from_spec(inner)
            inner.loader.exec_module(module)
            found: Callable[..., int] | None = getattr(module, "crc32c", None)
            if found is not None:
                return found
    from crc32c import crc32c as whole

    return whole


if not TYPE_CHECKING:
    crc32c = _load()
