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


def count_cores() -> int:
    return len(_CORES)


def proxy_cores(workers: int) -> tuple[int, ...]:
    """Returns the cores of a proxy with that many workers."""
    return tuple(_CORES[:workers])


def spare_cores(workers: int) -> tuple[int, ...]:
    """Returns the cores that such a proxy leaves to backend and load."""
    return tuple(_CORES[workers:])


@contextmanager
def on_core(*cores: int) -> Iterator[None]:
    """Runs processes that are started inside on these cores: affinity is inherited."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def move(pid: int, cores: tuple[int, ...]) -> None:
    """Moves a process tree, each process with one thread, to these cores."""
    for one in tree(pid):
        os.sched_setaffinity(one, cores)


def raise_descriptor_limit(wanted: int = 0) -> int:
    """Raises the soft limit on open files to the hard one, for this process and its children. Returns it.

    A hard limit below `wanted` is raised as well, where that is allowed.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, OSError):  # only a privileged process may raise it, up to fs.nr_open
            pass
        else:
            return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def local_ports() -> int:
    """Returns the number of ports that the kernel gives connections from one address to one listener."""
    text = _read(Path("/proc/sys/net/ipv4/ip_local_port_range")).split()
    return int(text[1]) - int(text[0]) + 1 if len(text) == 2 else 28_232


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


def idle_seconds(cores: tuple[int, ...]) -> float:
    """Returns the time so far in which these cores had nothing to run."""
    wanted = {f"cpu{core}" for core in cores}
    lines = (line.split() for line in _read(Path("/proc/stat")).splitlines())
    # The fields are user, nice, system, idle and iowait.
    return sum(int(fields[4]) + int(fields[5]) for fields in lines if fields[0] in wanted) / TICKS_PER_SECOND


def proportional_bytes(pid: int) -> int:
    """Returns the memory of the tree (PSS): pages that several processes share count as parts."""
    return sum(_kilobytes(_read(Path(f"/proc/{one}/smaps_rollup")), "Pss") for one in tree(pid)) * 1024


def open_descriptors(pid: int) -> int:
    """Returns the open files and sockets of the tree."""
    return sum(len(_entries(Path(f"/proc/{one}/fd"))) for one in tree(pid))


def resident_bytes(pid: int, field: str = "VmRSS") -> int:
    """Returns `VmRSS` (now) or `VmHWM` (the highest so far) of the tree."""
    return sum(_kilobytes(_read(Path(f"/proc/{one}/status")), field) for one in tree(pid)) * 1024


def description() -> dict[str, str]:
    """Returns what a reader of a result must have of the machine."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor(),
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


def _entries(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:  # it has just ended
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return ""


def processor() -> str:
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
