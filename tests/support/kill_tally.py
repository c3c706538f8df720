"""What many kill points came to."""

from collections import Counter
from dataclasses import dataclass, field

from tests.support.history import Upload


@dataclass(slots=True)
class Tally:
    """Counts and, of everything that must not be, the ids. `absent` and `whole` are what was never acknowledged."""

    seed: int
    points: Counter[str] = field(default_factory=Counter)
    acknowledged: dict[str, Upload] = field(default_factory=dict)
    absent: int = 0
    whole: int = 0
    lost: list[str] = field(default_factory=list)
    half_visible: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        victims = " ".join(f"{name}={count}" for name, count in sorted(self.points.items()))
        return (
            f"{self.points.total()} kill points ({victims}), seed {self.seed}: {len(self.acknowledged)} files, "
            f"{len(self.lost)} lost, {len(self.half_visible)} half visible, {len(self.duplicates)} duplicates, "
            f"{len(self.refused)} refused; unacknowledged at the kill: {self.absent} absent, {self.whole} whole"
        )
