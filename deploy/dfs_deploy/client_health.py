"""Whether a cluster works, seen from outside, as its users see it: through the client library."""

import io
import secrets
from contextlib import closing

import msgspec

from dfs_client.api import Dfs, connect
from dfs_deploy.profiles import own_address_set
from dfs_deploy.spec import ClusterSpec
from dfs_deploy.state import Credentials
from dfs_wire.errors import CorruptError, NotAllowedError, ProtocolError, ReadOnlyError, UnavailableError
from dfs_wire.messages import DrainProgressReply, NodeInfo

SELF_TEST_BYTES = 256 * 1024

#: The state of a master whose database is older than what its nodes have seen.
_READ_ONLY = "read-only"

#: What an address answers where our master does not (yet) listen.
_NOT_OURS = (UnavailableError, NotAllowedError, ProtocolError)


class ClientHealth:
    """`Health` through `dfs_client`. Holds no connection between two questions."""

    def master_answers(self, spec: ClusterSpec, credentials: Credentials) -> bool:
        """Another program that listens there does not know our keys, or does not even speak the protocol."""
        try:
            with closing(connect_as_operator(spec, credentials)) as dfs:
                dfs.status()
        except _NOT_OURS:
            return False
        return True

    def live_nodes(self, spec: ClusterSpec, credentials: Credentials, since_ms: int) -> dict[str, int]:
        """A node that the master only remembers as live was not heard of since its process was started."""
        nodes = _nodes(spec, credentials)
        return {node.name: node.id for node in nodes if node.state == "live" and node.last_seen_at_ms >= since_ms}

    def node_states(self, spec: ClusterSpec, credentials: Credentials) -> dict[str, str]:
        """As the status lists them."""
        return {node.name: node.state for node in _nodes(spec, credentials)}

    def self_test(self, spec: ClusterSpec, credentials: Credentials) -> None:
        """The file has random bytes, so that no chunk of it is stored already."""
        path = f"/.dfs-self-test-{secrets.token_hex(8)}"
        content = secrets.token_bytes(SELF_TEST_BYTES)
        with closing(connect_as_operator(spec, credentials)) as dfs:
            try:
                dfs.upload(io.BytesIO(content), path)
                back = io.BytesIO()
                dfs.download(path, back)
            finally:
                if dfs.exists(path):
                    dfs.remove(path)
        if back.getvalue() != content:
            raise CorruptError(f"Cluster {spec.name!r} gave other bytes back than it was given; look at `dfs logs`.")

    def known_nodes(self, spec: ClusterSpec, credentials: Credentials) -> dict[str, int]:
        """As the status lists them; an older database does not list those that joined since."""
        with closing(connect_as_operator(spec, credentials)) as dfs:
            status = dfs.status()
        if status.reply.state == _READ_ONLY:
            raise ReadOnlyError(f"The master of cluster {spec.name!r} is read-only: {status.reply.notice}.")
        return {node.name: node.id for node in status.nodes}

    def too_few_copies(self, spec: ClusterSpec, credentials: Credentials) -> int:
        """As the status counts them."""
        with closing(connect_as_operator(spec, credentials)) as dfs:
            return dfs.status().reply.under_replicated

    def drain_node(self, spec: ClusterSpec, credentials: Credentials, node_id: int, *, cancel: bool) -> None:
        """The operator's word to the master."""
        with closing(connect_as_operator(spec, credentials)) as dfs:
            dfs.admin.drain_node(node_id, cancel=cancel)

    def drain_progress(self, spec: ClusterSpec, credentials: Credentials, node_id: int) -> DrainProgressReply:
        """A node that is not seen as draining yet may still be given chunks: then something is left, whatever it is."""
        with closing(connect_as_operator(spec, credentials)) as dfs:
            progress = dfs.admin.drain_progress(node_id)
        least = 0 if progress.draining else 1
        return msgspec.structs.replace(progress, chunks_left=max(least, progress.chunks_left))

    def forget_node(self, spec: ClusterSpec, credentials: Credentials, node_id: int) -> None:
        """The operator's word to the master, which looks for itself."""
        with closing(connect_as_operator(spec, credentials)) as dfs:
            dfs.admin.remove_node(node_id)

    def change_setting(self, spec: ClusterSpec, credentials: Credentials, name: str, value: str) -> None:
        """The operator's word to the master, which judges it."""
        with closing(connect_as_operator(spec, credentials)) as dfs:
            dfs.admin.set_setting(name, value)


def _nodes(spec: ClusterSpec, credentials: Credentials) -> list[NodeInfo]:
    """The nodes as the status lists them; none while the master does not answer."""
    try:
        with closing(connect_as_operator(spec, credentials)) as dfs:
            return dfs.status().nodes
    except _NOT_OURS:
        return []


def connect_as_operator(spec: ClusterSpec, credentials: Credentials) -> Dfs:
    """The master and key are named outright: the environment of whoever deploys must not lead elsewhere."""
    return connect(master=spec.master_address, key=credentials.admin_key, address_set=own_address_set(spec))
