"""What the machine itself can do, measured in the same run: every figure of ours is quoted as a ratio to these."""

import multiprocessing
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import msgspec
from blake3 import blake3
from crc32c import crc32c

MIB = 2**20
_BLOCK = 8 * MIB

_FORK = multiprocessing.get_context("fork")


def two_copies(source: Path, directory: Path) -> float:
    """MiB of user data a second when two `dd … conv=fsync` write a copy each, at the same time."""
    copies = [directory / "copy-1", directory / "copy-2"]
    begun = time.perf_counter()
    running = [
        subprocess.Popen(
            ["dd", f"if={source}", f"of={copy}", "bs=8M", "conv=fsync"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for copy in copies
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError("dd failed; is the disk full?")
    seconds = time.perf_counter() - begun
    for copy in copies:
        copy.unlink()
    return source.stat().st_size / MIB / seconds


def copy_and_fsync(directory: Path, *, files: int = 64, mib: int = 8, at_once: int = 2) -> float:
    """MiB a second read from one place and written to another with an fsync each, a few files at a time.

    The files are as large as chunks, and were written a moment ago, as what a repair copies often was.
    """
    place = directory / "copied-from"
    place.mkdir()
    sources = [place / str(number) for number in range(files)]
    for source in sources:
        source.write_bytes(os.urandom(mib * MIB))
    os.sync()
    targets = directory / "copied-to"
    targets.mkdir()
    begun = time.perf_counter()
    with ThreadPoolExecutor(at_once) as threads:
        copied = sum(threads.map(lambda source: _copy(source, targets / source.name), sources))
    seconds = time.perf_counter() - begun
    _remove(place)
    _remove(targets)
    return copied / MIB / seconds


def _copy(source: Path, target: Path) -> int:
    """Bytes copied, and durable. Reading and writing let go of the interpreter lock."""
    buffer, copied = memoryview(bytearray(MIB)), 0
    with source.open("rb", buffering=0) as reading, target.open("wb", buffering=0) as writing:
        while count := reading.readinto(buffer):
            copied += writing.write(buffer[:count])
        os.fsync(writing.fileno())
    return copied


def loopback(mib: int = 2048) -> float:
    """MiB a second from one process to another over a loopback connection, in blocks of 1 MiB."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def send() -> None:
            with socket.create_connection(listener.getsockname()) as connection:
                block = bytes(MIB)
                for _ in range(mib):
                    connection.sendall(block)

        sender = _FORK.Process(target=send)
        sender.start()
        connection, _ = listener.accept()
        with connection:
            buffer = bytearray(MIB)
            begun, left = time.perf_counter(), mib * MIB
            while left:
                left -= connection.recv_into(buffer)
            seconds = time.perf_counter() - begun
        sender.join()
    return mib / seconds


def file_over_loopback(source: Path, target: Path) -> float:
    """MiB a second of a file in memory by `sendfile` over loopback into another file: a download with no promise."""
    size = source.stat().st_size
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def send() -> None:
            with source.open("rb") as file, socket.create_connection(listener.getsockname()) as connection:
                connection.sendfile(file)

        sender = _FORK.Process(target=send)
        sender.start()
        connection, _ = listener.accept()
        with connection, target.open("wb", buffering=0) as file:
            buffer = memoryview(bytearray(MIB))
            begun = time.perf_counter()
            while count := connection.recv_into(buffer):
                file.write(buffer[:count])
            seconds = time.perf_counter() - begun
        sender.join()
    target.unlink()
    return size / MIB / seconds


def blake3_of_one_core() -> float:
    """MiB a second."""
    return _digest_rate(lambda block: blake3(block).digest())


def crc32c_of_one_core() -> float:
    """MiB a second."""
    return _digest_rate(crc32c)


def create_and_fsync(directory: Path, workers: int, files: int = 2_000) -> float:
    """Files of 4 KiB a second that several processes create, write and fsync, each in a directory of its own."""

    def work(number: int) -> None:
        place = directory / f"fsync-{number}"
        place.mkdir()
        data = os.urandom(4096)
        for each in range(files // workers):
            with (place / str(each)).open("wb", buffering=0) as file:
                file.write(data)
                os.fsync(file.fileno())

    seconds = _together(workers, work)
    for number in range(workers):
        _remove(directory / f"fsync-{number}")
    return files / seconds


def copy_tree_twice(tree: Path, directory: Path) -> float:
    """Files a second of `cp -r` twice and `sync`."""
    files = sum(1 for _ in tree.iterdir())
    copies = [directory / "tree-1", directory / "tree-2"]
    begun = time.perf_counter()
    for copy in copies:
        subprocess.run(["cp", "-r", tree, copy], check=True)
    subprocess.run(["sync"], check=True)
    seconds = time.perf_counter() - begun
    for copy in copies:
        _remove(copy)
    return files / seconds


def sqlite_commits(directory: Path, seconds: float = 1.0) -> float:
    """Commits of one row a second, `synchronous=FULL`, by one connection."""
    path = directory / "limit.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)")
        data, count, begun = os.urandom(100), 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            database.execute("INSERT INTO t (data) VALUES (?)", (data,))
            count += 1
        rate = count / (time.perf_counter() - begun)
    for left in directory.glob("limit.db*"):
        left.unlink()
    return rate


class _Question(msgspec.Struct, array_like=True):
    number: int
    path: str


def round_trips(clients: int = 8, each: int = 5_000) -> float:
    """Framed msgpack round trips a second: several client processes, one thread that answers at once."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = _FORK.Process(target=_answer, args=(listener,), daemon=True)
    server.start()

    def work(number: int) -> None:
        with socket.create_connection(listener.getsockname()) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for count in range(each):
                body = msgspec.msgpack.encode(_Question(count, f"/limit/{number}/{count}"))
                connection.sendall(len(body).to_bytes(4, "big") + body)
                msgspec.msgpack.decode(connection.recv(4096)[4:], type=_Question)

    seconds = _together(clients, work)
    server.terminate()
    server.join()
    listener.close()
    return clients * each / seconds


def _answer(listener: socket.socket) -> None:
    """Serve until terminated: each request of this exchange fits one packet, since the asker waits for the answer."""
    import selectors

    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ)
                    continue
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                data = connection.recv(4096)
                if not data:
                    selector.unregister(connection)
                    connection.close()
                    continue
                body = msgspec.msgpack.encode(msgspec.msgpack.decode(data[4:], type=_Question))
                connection.send(len(body).to_bytes(4, "big") + body)


def _digest_rate(digest: Callable[[bytes], object]) -> float:
    block = os.urandom(_BLOCK)
    digest(block)
    begun = time.perf_counter()
    for _ in range(32):
        digest(block)
    return 32 * _BLOCK / MIB / (time.perf_counter() - begun)


def _together(workers: int, work: Callable[[int], None]) -> float:
    """Seconds from the common start of several processes to the end of the last."""
    barrier = _FORK.Barrier(workers + 1)

    def run(number: int) -> None:
        barrier.wait()
        work(number)

    processes = [_FORK.Process(target=run, args=(number,)) for number in range(workers)]
    for process in processes:
        process.start()
    barrier.wait()
    begun = time.perf_counter()
    for process in processes:
        process.join()
    seconds = time.perf_counter() - begun
    if any(process.exitcode for process in processes):
        raise RuntimeError("a process that measures the machine's limit failed")
    return seconds


def _remove(tree: Path) -> None:
    for path in tree.iterdir():
        path.unlink()
    tree.rmdir()
