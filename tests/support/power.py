"""A file system that can lose its power: ext4 on a loop device, shut down without flushing its journal."""

import fcntl
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.support.polling import poll_for

#: EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: what is not in the journal on the disk is gone.
_SHUTDOWN = 0x8004587D
_WITHOUT_LOG_FLUSH = (2).to_bytes(4, "little")

_COMMAND_SECONDS = 60


def can_cut_power() -> bool:
    """Whether this user may mount loop devices here."""
    return os.geteuid() == 0 and Path("/dev/loop-control").exists()


class PowerCutDisk:
    """One file system at `mountpoint`. Used by one thread."""

    def __init__(self, image: Path, mountpoint: Path) -> None:
        self._image = image
        self.mountpoint = mountpoint

    def mount(self) -> None:
        """Mount it; the journal is replayed, as after a power cut."""
        _run("mount", "-o", "loop,nodev,nosuid", str(self._image), str(self.mountpoint))

    def unmount(self) -> None:
        """Unmount it."""
        _run("umount", str(self.mountpoint))

    def mount_again(self) -> None:
        """Mount it anew after a cut, as soon as nobody holds the dead file system any more.

        An engine lets go of a volume a moment after its container's end, and a container that starts just then holds
        whatever is mounted for a moment: as long as anybody does, to mount means to get the dead one again.
        """
        poll_for(f"{self.mountpoint} being alive", self._try_to_revive, seconds=60, every=0.2)

    def _try_to_revive(self) -> bool:
        try:
            if self.mountpoint.is_mount():
                self.unmount()
            self.mount()
            probe = self.mountpoint / "probe"
            probe.touch()
            probe.unlink()
        except (subprocess.CalledProcessError, OSError):
            return False
        return True

    def cut(self) -> None:
        """From this moment on nothing reaches the disk."""
        cut_all([self])


def cut_all(disks: Iterable[PowerCutDisk]) -> None:
    """Cut several disks off as nearly at once as one thread can."""
    with ExitStack() as opened:
        descriptors = []
        for disk in disks:
            descriptors.append(os.open(disk.mountpoint, os.O_RDONLY | os.O_DIRECTORY))
            opened.callback(os.close, descriptors[-1])
        for descriptor in descriptors:
            fcntl.ioctl(descriptor, _SHUTDOWN, _WITHOUT_LOG_FLUSH)


@contextmanager
def power_cut_disk(directory: Path, size_bytes: int, owner: int) -> Iterator[PowerCutDisk]:
    """A mounted disk whose root belongs to a user, for as long as the block runs."""
    directory.mkdir(exist_ok=True)
    image, mountpoint = directory / "disk.img", directory / "disk"
    with image.open("wb") as file:
        file.truncate(size_bytes)
    _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
    mountpoint.mkdir()
    disk = PowerCutDisk(image, mountpoint)
    disk.mount()
    try:
        os.chown(mountpoint, owner, owner)
        # Set-up is not what the drill is about.
        os.sync()
        yield disk
    finally:
        with suppress(subprocess.CalledProcessError):
            _run("umount", "--lazy", str(mountpoint))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_COMMAND_SECONDS)
