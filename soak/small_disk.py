"""A disk of the campaigns' own, which is full or read-only whenever they like (Linux, root)."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE = 4096
"""Bytes that a file takes at least."""
ROOMY = 2 * 1024**3
"""What a job asks to be free fits in; a tmpfs takes no memory before something is written."""


class SmallDisk:
    """A tmpfs at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, pages: int = 0) -> None:
        """Leaves room for so many pages."""
        now = os.statvfs(self.folder)
        used = (now.f_blocks - now.f_bfree) * now.f_bsize
        # A size of 0 would mean no limit.
        self._mounted_with(f"remount,rw,size={max(used + pages * PAGE, PAGE)}")

    def free(self) -> None:
        self._mounted_with(f"remount,rw,size={ROOMY}")

    def forbid(self) -> None:
        """Makes it read-only. Raises CalledProcessError while a file is open for writing."""
        self._mounted_with("remount,ro")

    def _mounted_with(self, options: str) -> None:
        subprocess.run(["mount", "-o", options, str(self.folder)], check=True)


def may_mount() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0 and Path("/proc/mounts").is_file()


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mounts it for as long as the block lasts. Raises CalledProcessError where that fails."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={ROOMY}", "tmpfs", str(folder)]
    subprocess.run(command, check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
