"""A client program for fault tests: stores what its standard input names, and keeps a history of it.

Each line of input is one batch, a JSON list of `[id, path, size]`; all uploads of a batch run at once. `begin` and
`done` are printed around each. Started as `python -m tests.support.upload_worker MASTER KEY HOME HISTORY SCRATCH`.
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.support.history import History, Upload

from dfs_client.api import Dfs, connect
from dfs_client.types import Uploaded
from dfs_wire.errors import DfsError

#: Uploads up to this size of one batch go together through `upload_many`, as a tree of small files does.
SMALL_BYTES_MAX = 64 * 1024
THREADS = 6


class Worker:
    """Runs batches. Its methods may run in several threads."""

    def __init__(self, dfs: Dfs, history: History, scratch: Path) -> None:
        self._dfs = dfs
        self._history = history
        self._scratch = scratch
        self._lock = threading.Lock()

    def run(self, uploads: list[Upload]) -> None:
        """Store all of a batch, and note what became of each."""
        small = [upload for upload in uploads if upload.size <= SMALL_BYTES_MAX]
        large = [upload for upload in uploads if upload.size > SMALL_BYTES_MAX]
        sources = [(upload.write_to(self._scratch / upload.id), upload) for upload in small]
        for upload in uploads:
            self._note("begin", upload)
        tasks = [partial(self._many, sources)] if small else []
        # Every second one cannot be read again, as a pipe.
        tasks += [partial(self._one, upload, as_stream=bool(place % 2)) for place, upload in enumerate(large)]
        say("begin")
        with ThreadPoolExecutor(THREADS) as threads:
            for done in [threads.submit(task) for task in tasks]:
                done.result()
        say("done")

    def _many(self, sources: list[tuple[Path, Upload]]) -> None:
        by_path = {upload.path: upload for _, upload in sources}
        for result in self._dfs.upload_many([(source, upload.path) for source, upload in sources]):
            self._end(by_path[result.path], result.error, result.uploaded)
        for source, _ in sources:
            source.unlink()

    def _one(self, upload: Upload, *, as_stream: bool) -> None:
        source = self._scratch / upload.id
        try:
            uploaded = self._dfs.upload(upload.stream() if as_stream else upload.write_to(source), upload.path)
        except DfsError as error:
            self._end(upload, error, None)
        else:
            self._end(upload, None, uploaded)
        finally:
            source.unlink(missing_ok=True)

    def _end(self, upload: Upload, error: DfsError | None, uploaded: Uploaded | None) -> None:
        if error is not None:
            self._note("fail", upload, error=f"{type(error).__name__}: {error}")
        else:
            self._note("ok", upload, sent=uploaded.bytes_sent if uploaded is not None else 0)

    def _note(self, event: str, upload: Upload, **more: str | int) -> None:
        with self._lock:
            self._history.append(event, upload, **more)


def say(word: str) -> None:
    """Tell the test."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve batches until the input ends."""
    master, key, home, history_file, scratch = sys.argv[1:]
    with History(Path(history_file)) as history, connect(master=master, key=key, home=Path(home), environ={}) as dfs:
        dfs.exists("/")
        say("ready")
        for line in sys.stdin:
            Worker(dfs, history, Path(scratch)).run([Upload(*fields) for fields in json.loads(line)])


if __name__ == "__main__":
    main()
