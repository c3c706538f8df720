"""A file object whose content becomes a version when it is closed, and nothing if something goes wrong."""

import io
from types import TracebackType
from typing import TYPE_CHECKING

from dfs_client.engine import Engine
from dfs_client.meter import Meter
from dfs_client.types import Progress, Uploaded
from dfs_client.upload import expectation, refuse_existing
from dfs_client.upload_empty import STREAM_MODE
from dfs_client.upload_job import UploadJob
from dfs_runtime import forks

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class RemoteWriter(io.BufferedIOBase):
    """What is written goes out chunk by chunk; `close` commits it. Used by one thread.

    A `with` block that ends with an exception commits nothing, nor does an object that is thrown away unclosed.

    Attributes:
        uploaded: the version, once `close` returned.
    """

    def __init__(self, engine: Engine, path: str, *, clobber: bool, progress: Progress | None) -> None:
        super().__init__()
        self.name = path
        self.uploaded: Uploaded | None = None
        if not clobber:
            refuse_existing(engine, path)
        self._engine = engine
        self._job: UploadJob | None = UploadJob(engine, path, Meter(progress, path, -1), expect=expectation(clobber))
        forks.register(self)

    def after_fork(self) -> None:
        """In a child: the version is the parent's to commit. Here the file is closed."""
        self._job = None
        super().close()

    def writable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        return self._open_job().size

    def write(self, data: "ReadableBuffer") -> int:
        """Take all of `data`.

        Raises:
            DfsError: a chunk could not be stored; nothing will be committed.
            ValueError: the file was closed or given up.
        """
        job = self._open_job()
        with memoryview(data).cast("B") as view:
            try:
                job.write(view)
            except BaseException:
                self.abort()
                raise
            return len(view)

    def close(self) -> None:
        """Send the rest and commit. A second call does nothing.

        Raises:
            DfsError: nothing was committed.
        """
        job = self._job
        if job is None:
            return
        try:
            now_ns = self._engine.clock.wall_ms() * 1_000_000
            self.uploaded = job.commit(mode=STREAM_MODE, mtime_ns=now_ns)
        finally:
            self.abort()

    def abort(self) -> None:
        """Give up what was not committed. May be called twice."""
        job, self._job = self._job, None
        if job is not None:
            job.close()
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        # The base class would call `close`, and so commit half a file when a program forgets it.
        if getattr(self, "_job", None) is not None:
            self.abort()

    def _open_job(self) -> UploadJob:
        if self._job is None:
            raise ValueError("the file was closed")
        return self._job
