"""What mends by itself, put together: one step of all of it, in the order of what matters most."""

from collections.abc import Callable

from dfs_master.cluster import Cluster
from dfs_master.compactor import Compactor
from dfs_master.converging import Convergence
from dfs_master.copy_desk import CopyDesk
from dfs_master.rebalancer import Rebalancer
from dfs_master.repairer import Repairer
from dfs_wire import messages as m


class Healing:
    """`step` belongs to one thread; `heard` may be called from any. `wake` asks for a step now."""

    def __init__(self, cluster: Cluster, wake: Callable[[], None] = lambda: None) -> None:
        self.desk = CopyDesk(cluster, wake)
        self.repairer = Repairer(cluster, self.desk)
        self.rebalancer = Rebalancer(cluster, self.desk)
        #: The collector steps it; it is here because it hears what nodes made.
        self.compactor = Compactor(cluster)
        self.convergence = Convergence(cluster, wake, self.repairer.look_again)
        self._cluster = cluster

    def heard(self, node_id: int, findings: list[m.Finding]) -> None:
        """A node told of its copies, and that is on record."""
        self.desk.heard(node_id, findings)
        self.repairer.heard(findings)
        self.compactor.heard(node_id, findings)

    def step(self) -> None:
        """A round; none while an older database must not be acted on."""
        if self._cluster.safe_mode.held:
            return
        self.convergence.step()
        self.repairer.step()
        repair = self.repairer
        self.rebalancer.step(
            may_work=repair.is_idle and not repair.view.failures and not self._cluster.safe_mode.active
        )
