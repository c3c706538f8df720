"""Pools and periodic steps: bounded, not ended by a fault, ended when told."""

import logging
import signal
import subprocess
import sys
import threading
import time

import pytest
from tests.support.polling import poll_for

from dfs_runtime.lifecycle import StopSignal
from dfs_runtime.workers import Periodic, QueueFullError, SelfPaced, WorkerPool


def alive(prefix: str) -> list[str]:
    """Threads of that name."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


def test_tasks_run_on_the_pools_threads() -> None:
    """All of them, on at most so many threads; `stop` finishes what is queued and leaves nothing behind."""
    pool = WorkerPool("test-pool", threads=3, queue_max=100)
    names: list[str] = []
    for _ in range(50):
        pool.submit(lambda: names.append(threading.current_thread().name))
    pool.stop()
    assert len(names) == 50
    assert set(names) <= {"test-pool-1", "test-pool-2", "test-pool-3"}
    assert not alive("test-pool")


def test_a_full_queue_says_so_at_once() -> None:
    """The caller is not held up; what was taken is done."""
    gate = threading.Event()
    done: list[int] = []
    pool = WorkerPool("test-full", threads=1, queue_max=2)
    began = threading.Event()
    pool.submit(lambda: (began.set(), gate.wait(10), done.append(0)))  # type: ignore[func-returns-value,arg-type,return-value]
    assert began.wait(10)
    pool.submit(lambda: done.append(1))
    pool.submit(lambda: done.append(2))
    with pytest.raises(QueueFullError):
        pool.submit(lambda: done.append(3))
    gate.set()
    pool.stop()
    assert done == [0, 1, 2]


def test_a_failing_task_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The thread goes on with the next one."""
    done = threading.Event()
    pool = WorkerPool("test-faults", threads=1, queue_max=10)
    pool.submit(lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    pool.submit(done.set)
    assert done.wait(10)
    pool.stop()
    assert "a task failed" in caplog.text


@pytest.mark.parametrize("queued", [0, 2])
def test_a_task_that_does_not_end_does_not_hold_up_the_end(queued: int) -> None:
    """`stop` gives up at its deadline, even with a full queue behind the stuck task."""
    gate, began = threading.Event(), threading.Event()
    pool = WorkerPool("test-stuck", threads=2, queue_max=2, stop_seconds=0.1)
    for _ in range(2):
        began.clear()
        pool.submit(lambda: (began.set(), gate.wait(30)))  # type: ignore[func-returns-value,arg-type,return-value]
        assert began.wait(10)
    for _ in range(queued):
        pool.submit(lambda: None)
    before = time.monotonic()
    pool.stop()
    assert time.monotonic() - before < 5
    gate.set()
    if not queued:
        poll_for("the threads end", lambda: not alive("test-stuck"), seconds=10)


def test_a_periodic_step_repeats_and_survives_its_faults(caplog: pytest.LogCaptureFixture) -> None:
    """The first step comes at once, a failing one is logged, `stop` ends the thread."""
    caplog.set_level(logging.INFO)
    steps: list[int] = []

    def step() -> None:
        steps.append(1)
        if len(steps) == 2:
            raise OSError("for a moment")

    periodic = Periodic("test-periodic", 0.001, step)
    periodic.start()
    poll_for("it repeats", lambda: len(steps) > 5, seconds=10)
    periodic.stop()
    count = len(steps)
    assert not alive("test-periodic")
    assert "a periodic step failed" in caplog.text
    assert len(steps) == count


def test_a_periodic_step_can_be_woken() -> None:
    """Its next time need not be waited for."""
    steps: list[int] = []
    periodic = Periodic("test-woken", 3_600.0, lambda: steps.append(1))
    periodic.start()
    poll_for("the first step", lambda: steps, seconds=10)
    periodic.wake()
    poll_for("the second step", lambda: len(steps) == 2, seconds=10)
    periodic.stop()
    assert not alive("test-woken")


def test_stopping_what_never_started() -> None:
    """Boot may fail between making a part and starting it."""
    Periodic("test-never", 1.0, lambda: None).stop()


def test_the_end_can_be_asked_for_with_a_reason() -> None:
    """The first reason is the one that the main thread raises."""
    stop = StopSignal()
    assert not stop.is_set()
    stop.set(OSError("the disk"))
    stop.set(OSError("a follow-on"))
    assert stop.is_set()
    with pytest.raises(OSError, match="the disk"):
        stop.wait()
    quiet = StopSignal()
    quiet.set()
    quiet.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_in_good_order(number: signal.Signals) -> None:
    """SIGTERM and SIGINT wake the main thread, which goes on with its shutdown."""
    program = (
        "from dfs_runtime.lifecycle import StopSignal\n"
        "stop = StopSignal(); stop.install(); print('ready', flush=True); stop.wait(); print('ended')"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.stdout.read() == b"ended\n"
    assert process.returncode == 0


def test_a_step_that_paces_itself_goes_on_after_a_failure() -> None:
    """It begins on its own thread, comes again after an error, and is ended by its owner."""
    told: list[str] = []
    enough = threading.Event()

    def step() -> float:
        told.append("step")
        if len(told) == 2:
            raise RuntimeError("one bad step")
        if len(told) > 3:
            enough.set()
        return 0.001

    thread = SelfPaced(
        "pace",
        step,
        first_seconds=0.001,
        again_seconds=0.001,
        begin=lambda: told.append(threading.current_thread().name),
        end=lambda: told.append("end"),
    )
    thread.start()
    assert enough.wait(10)
    thread.stop()
    assert told[0] == "pace"
    assert told[-1] == "end"
    assert set(told[1:-1]) == {"step"}
