"""What mends by itself, put together: one step of all of it, in the order of what matters most."""

from collections.abc import Callable

from dfs_master.cluster import Cluster
from dfs_master.copy_desk import CopyDesk
from dfs_master.repairer import Repairer
from dfs_wire import messages as m


class Healing:
    """`step` belongs to one thread; `heard` may be called from any. `wake` asks for a step now."""

    def __init__(self, cluster: Cluster, wake: Callable[[], None] = lambda: None) -> None:
        self.desk = CopyDesk(cluster, wake)
        self.repairer = Repairer(cluster, self.desk)

    def heard(self, node_id: int, findings: list[m.Finding]) -> None:
        """A node told of its copies, and that is on record."""
        self.desk.heard(node_id, findings)

    def step(self) -> None:
        """A round."""
        self.repairer.step()
