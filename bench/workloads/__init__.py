"""The workloads by name; each is a function of one `Run` on a fresh cluster. All data are bytes never seen before."""

from collections.abc import Callable

from bench.recording import Run
from bench.workloads.beside import beside_healing
from bench.workloads.large import eight_large, one_large
from bench.workloads.load import mixed_load
from bench.workloads.metadata import empty_files, stat_under_writes
from bench.workloads.million import million_files
from bench.workloads.repair import wiped_node
from bench.workloads.servers import idle_servers
from bench.workloads.small import small_files

WORKLOADS: dict[str, Callable[[Run], None]] = {
    "w1": one_large,
    "w2": small_files,
    "w3": empty_files,
    "w3load": stat_under_writes,
    "w4": wiped_node,
    "w5": idle_servers,
    "w6": eight_large,
    "w7": beside_healing,
    "w8": million_files,
    "load": mixed_load,
}

#: What `make bench` runs: the others take minutes each.
USUAL = ("w1", "w2", "w3", "w3load", "w5", "w6")

#: These start their cluster themselves.
STARTS_ITSELF = frozenset({"w5"})
