"""Four times the changes that may wait: answered with a typed "busy", sent again after a pause, by no more threads."""

import random
import threading
from collections import Counter
from pathlib import Path

from tests.support.event_wire import KEY
from tests.support.writing import open_store

from dfs_client.master import MasterClient
from dfs_master.catalog.committer import Committer
from dfs_master.catalog.mutations.tree import MakeDirectories
from dfs_master.handlers.replies import outcomes_to
from dfs_runtime.clock import SystemClock
from dfs_wire import messages as m
from dfs_wire.channel import Answer
from dfs_wire.codec import decode
from dfs_wire.errors import BusyError
from dfs_wire.event_listener import EventListener, Respond
from dfs_wire.pool import ChannelPool
from dfs_wire.service import Session
from dfs_wire.sockets import SocketDialer

QUEUE = 8
CLIENTS = 4 * QUEUE
EACH = 6


class _Master:
    """What is needed to make directories."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self.seen: Counter[str] = Counter()
        self.threads: set[str] = set()

    def recall(self, _kind: type[m.Header], _request: bytes) -> bytes | None:
        """Nothing is remembered here."""
        return None

    def serve(self, _session: Session, request: m.Header, body: bytes, respond: Respond) -> None:
        """On the I/O thread."""
        self.threads |= {thread.name for thread in threading.enumerate() if not thread.name.startswith("client")}
        if isinstance(request, m.MakeDirectories):
            self.seen["asked"] += 1
            mutation = MakeDirectories(request.request_id, request.exist_ok, decode(body, list[m.DirectorySpec]))
            try:
                self._committer.submit(mutation, outcomes_to(respond))
            except BusyError:
                self.seen["busy"] += 1
                raise
        else:
            respond(Answer(m.HelloReply(cluster_id="test")))


def test_four_times_the_load(tmp_path: Path) -> None:
    """Everybody is served in the end, each change once; meanwhile the queue, and so the memory, stays bounded."""
    clock = SystemClock()
    before = {thread.name for thread in threading.enumerate()}
    with open_store(tmp_path, points=lambda _: clock.sleep(0.005), rows_max=8, queue_max=QUEUE) as store:
        store.committer.start()
        service = _Master(store.committer)
        listener = EventListener("127.0.0.1:0", service, clock)
        listener.start()
        hello = m.Hello(role=m.Role.CLIENT, credential=KEY)
        refused: list[object] = []

        def work(number: int) -> None:
            pool = ChannelPool(SocketDialer(), lambda _: hello)
            master = MasterClient(listener.address, pool, clock, random.Random(number), retry_seconds=60)
            for each in range(EACH):
                spec = m.DirectorySpec(f"/{number}-{each}", 0o755, 0)
                refused.extend(o for o in master.make_directories([spec], exist_ok=False) if o.code)
            pool.close()

        clients = [threading.Thread(target=work, args=(n,), name=f"client-{n}") for n in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(120)
        listener.stop()
        assert not any(client.is_alive() for client in clients)
        assert refused == []
        assert len(store.paths()) == CLIENTS * EACH
        assert service.seen["busy"] > 0
        assert service.seen["asked"] == CLIENTS * EACH + service.seen["busy"]
        assert service.threads - before <= {"io", "committer"}
