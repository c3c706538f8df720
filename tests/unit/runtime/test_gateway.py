"""The default gateway is read from the kernel's table of routes."""

import sys

import pytest

from dfs_runtime.gateway import gateway_in

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
NEIGHBOURS = "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"


def as_kernel(address: str) -> str:
    """An IPv4 address as this machine's kernel writes it."""
    return f"{int.from_bytes(bytes(int(part) for part in address.split('.')), sys.byteorder):08X}"


def test_the_route_to_everywhere_over_a_gateway() -> None:
    """Routes to neighbours come before and behind it."""
    default = f"eth0\t00000000\t{as_kernel('172.18.0.1')}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    assert gateway_in(HEAD + NEIGHBOURS + default + NEIGHBOURS) == "172.18.0.1"


@pytest.mark.parametrize(
    "routes",
    ["", HEAD, HEAD + NEIGHBOURS, HEAD + "eth0\t00000000\t00000000\t0001\t0\n", HEAD + "eth0\n"],
    ids=["nothing", "no route", "neighbours only", "a link without a gateway", "a line cut short"],
)
def test_a_network_without_a_gateway(routes: str) -> None:
    """Inside it nobody stands for the host."""
    assert gateway_in(routes) is None
