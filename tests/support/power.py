"""A file system that can lose its power: ext4 on a loop device, shut down without flushing its journal."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: what is not in the journal on the disk is gone.
_SHUTDOWN = 0x8004587D
_WITHOUT_LOG_FLUSH = (2).to_bytes(4, "little")


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

    def cut(self) -> None:
        """From this moment on nothing reaches the disk."""
        descriptor = os.open(self.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _WITHOUT_LOG_FLUSH)
        finally:
            os.close(descriptor)


@contextmanager
def power_cut_disk(directory: Path, size_bytes: int, owner: int) -> Iterator[PowerCutDisk]:
    """A mounted disk whose root belongs to a user, for as long as the block runs."""
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
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
