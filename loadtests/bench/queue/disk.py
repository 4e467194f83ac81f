"""What the disk under a folder can do, and what it was asked for."""

import os
import time
from pathlib import Path

PIECE = b"x" * 1024


def fsyncs_per_second(folder: Path, seconds: float) -> float:
    """Appends of 1 KiB, each with an fsync, one after the other."""
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
    """How often the folder's device was told to flush its cache since the machine started, by anybody; None where the
    kernel does not say (Documentation/block/stat.rst, field 16)."""
    device = folder.stat().st_dev
    try:
        fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    except OSError:
        return None
    return int(fields[15]) if len(fields) > 15 else None


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Its type, such as ext4; `unknown` where no mount point fits."""
    found, name = "", "unknown"
    for line in mounts.read_text().splitlines():
        _, point, kind, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(found):
            found, name = point, kind
    return name


def has_durable_disk(name: str) -> bool:
    """Whether an fsync on such a file system can mean anything."""
    return name not in ("tmpfs", "ramfs")
