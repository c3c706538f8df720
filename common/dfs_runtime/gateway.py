"""Who stands for the host of a container: the default gateway of its network."""

import sys
from pathlib import Path

_ROUTES = Path("/proc/net/route")
#: The kernel's flag of a route that leads over a gateway.
_OVER_GATEWAY = 0x2
_COLUMNS_MIN = 4


def gateway_in(routes: str) -> str | None:
    """The default gateway (IPv4) in the text of `/proc/net/route`; None without one."""
    for line in routes.splitlines()[1:]:
        columns = line.split()
        if len(columns) < _COLUMNS_MIN:
            continue
        destination, gateway, flags = columns[1:4]
        if int(destination, 16) == 0 and int(flags, 16) & _OVER_GATEWAY:
            return ".".join(str(byte) for byte in int(gateway, 16).to_bytes(4, sys.byteorder))
    return None


def default_gateway() -> str | None:
    """The default gateway of this machine or container; None where there is none or nobody says."""
    try:
        return gateway_in(_ROUTES.read_text("ascii"))
    except OSError:
        return None
