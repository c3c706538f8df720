"""What the figures shall reach: the best peer's figure times a factor, as a ratio to the machine's limit.

Peers and limits were measured together on one machine (docs/performance.md). Elsewhere the absolute figures move, so
what is asked for is `figure / limit` of that run, against the same ratio here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the table.

    Attributes:
        limit: which limit of the machine the figure is measured against; empty where it stands alone.
        wanted: the figure on the machine where the peers were measured.
        limit_there: the limit on that machine.
        smaller: whether less is better.
    """

    limit: str
    wanted: float
    limit_there: float = 0.0
    smaller: bool = False

    @property
    def ratio(self) -> float:
        """The ratio asked for."""
        return self.wanted / self.limit_there if self.limit_there else 0.0

    def met(self, value: float, ratio: float) -> bool:
        """Whether a figure and its ratio reach it."""
        if not self.limit:
            return value <= self.wanted if self.smaller else value >= self.wanted
        return ratio <= self.ratio if self.smaller else ratio >= self.ratio


TARGETS = {
    "w1 up": Target("two copies", 2 * 222, 822),
    "w1 down": Target("loopback", 1.25 * 742, 4_140),
    "w2 up, 8 workers": Target("create and fsync, 8", 1.5 * 994, 12_900),
    "w2 up, 1 worker": Target("create and fsync, 1", 1.5 * 575, 8_230),
    "w2 upload -r": Target("cp -r twice", 6_000, 1_067),
    "w2 upload_many": Target("cp -r twice", 6_000, 1_067),
    "w2 down, 8 workers": Target("round trips", 1.5 * 2_313, 40_100),
    "w2 download -r": Target("round trips", 10_000, 40_100),
    "w2 download_many": Target("round trips", 10_000, 40_100),
    "w2 delete, 8 workers": Target("SQLite commits", 1.2 * 4_757, 8_107),
    "w3 create empty, 8 workers": Target("SQLite commits", 1.5 * 4_591, 8_107),
    "w3 stat, 8 workers": Target("round trips", 2 * 8_096, 40_100),
    "w3 list 10,000": Target("", 0.10, smaller=True),
    "w3 stat p99 under writes": Target("", 50, smaller=True),
    "w4 copied again": Target("copy and fsync, 2 at once", 0.5, 1.0),
    "w4 copied again, beside two copies": Target("two copies", 473, 822),
    "w5 memory of all servers": Target("", 180, smaller=True),
    "w5 deploy to first acknowledged write": Target("", 2.5, smaller=True),
    "w5 start to first acknowledged write": Target("", 2.5, smaller=True),
    "w5 dfs-client list": Target("", 0.200, smaller=True),
    "w6 up": Target("two copies", 2 * 219, 822),
    "w6 down": Target("loopback", 1.25 * 757, 4_140),
    "w7 up, cost of scrub": Target("", 20, smaller=True),
    "w7 up, cost of repair": Target("", 20, smaller=True),
    "w7 4 KiB up, cost of scrub": Target("", 20, smaller=True),
    "w7 4 KiB up, cost of repair": Target("", 20, smaller=True),
    **{
        f"w8 {request}, factor": Target("", 1.5, smaller=True)
        for request in ("stat", "stat again", "open", "list of 1,000", "create 4 KiB", "delete")
    },
    "load errors": Target("", 0, smaller=True),
    "load stat p99": Target("", 50, smaller=True),
}
