"""Describes the machine, sets the core of a process, and reads a process tree from /proc."""

import os
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

# The proxy has one core for itself; backend, load and this process share the other.
_CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE = _CORES[0]
LOAD_CORE = _CORES[-1]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Runs processes that are started inside on this core: affinity is inherited."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_descriptor_limit() -> int:
    """Raises the soft limit on open files to the hard one, for this process and its children. Returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def tree(pid: int) -> list[int]:
    """Returns the process and all its living descendants, parents first."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in _read(children).split()]
    return found


def cpu_seconds(pid: int) -> float:
    """Returns user and system time of the tree, ended and awaited children included."""
    return sum(_cpu_ticks(one) for one in tree(pid)) / TICKS_PER_SECOND


def resident_bytes(pid: int, field: str = "VmRSS") -> int:
    """Returns `VmRSS` (now) or `VmHWM` (the highest so far) of the tree."""
    return sum(_kilobytes(_read(Path(f"/proc/{one}/status")), field) for one in tree(pid)) * 1024


def description() -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": f"{len(_CORES)} (proxy on {PROXY_CORE}; backend and wrk on {LOAD_CORE})",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _cpu_ticks(pid: int) -> int:
    # After the command in parentheses, field 3 comes first; 14 to 17 are utime, stime, cutime and cstime.
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def _kilobytes(status: str, field: str) -> int:
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:")), 0)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return ""


def _processor() -> str:
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
