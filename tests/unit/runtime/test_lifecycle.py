"""How a daemon ends."""

import os
import resource
import signal
import threading
from collections.abc import Iterator

import pytest

from dfs_runtime.lifecycle import StopSignal, raise_descriptor_limit


@pytest.fixture
def handlers() -> Iterator[None]:
    """Give the signals back to whoever had them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("handlers")
def test_a_signal_ends_the_wait(number: signal.Signals) -> None:
    """Also one that comes before the wait, and more than one."""
    stop = StopSignal()
    stop.install()
    assert not stop.is_set()
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    stop.wait()
    assert stop.is_set()


def test_a_part_that_cannot_go_on_says_why() -> None:
    """Its error comes out of the wait, in the main thread."""
    stop = StopSignal()
    thread = threading.Thread(target=stop.set, args=(ValueError("the disk is gone"),))
    thread.start()
    with pytest.raises(ValueError, match="the disk is gone"):
        stop.wait()
    thread.join()


def test_the_descriptor_limit_is_raised_and_never_lowered() -> None:
    """As far as the hard limit allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        raise_descriptor_limit(512)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (512, before[1])
        raise_descriptor_limit(300)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (512, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
