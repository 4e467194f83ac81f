"""Measures the disk under a folder, and counts its flushes."""

import os
import time
from pathlib import Path

PIECE = b"x" * 1024


def fsyncs_per_second(folder: Path, seconds: float) -> float:
    """Appends 1 KiB repeatedly, each with an fsync, and returns the rate."""
    path = folder / "fsync.probe"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC)
    try:
        count, began = 0, time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            os.write(descriptor, PIECE)
            os.fsync(descriptor)
            count += 1
        return count / passed
    finally:
        os.close(descriptor)
        path.unlink()


def flushes(folder: Path) -> int | None:
    """Returns the flushes of the folder's device since the machine started, from any process. None if the kernel does
    not count them (Documentation/block/stat.rst, field 16)."""
    device = folder.stat().st_dev
    try:
        fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    except OSError:
        return None
    return int(fields[15]) if len(fields) > 15 else None


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Returns its type, such as ext4; `unknown` if no mount point fits."""
    found, name = "", "unknown"
    for line in mounts.read_text().splitlines():
        _, point, kind, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(found):
            found, name = point, kind
    return name


def has_durable_disk(name: str) -> bool:
    """Returns True if an fsync on such a file system is durable."""
    return name not in ("tmpfs", "ramfs")
