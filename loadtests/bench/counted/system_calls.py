"""Counts the system calls of a call, with strace."""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

CALLS = 60
WARM_UP = 20
NO_STRACE = "strace is missing (apt install strace)"
NOT_ALLOWED = "strace may not trace a process here"

# With these the main thread waits for another thread of Python. Threads are the client and the backend.
_OF_THREADS = frozenset({"futex", "sched_yield"})


def find_obstacle() -> str | None:
    """Returns the reason why system calls cannot be counted here; None if they can."""
    if shutil.which("strace") is None:
        return NO_STRACE
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, timeout=60)
    return NOT_ALLOWED if tried.returncode else None


def count_system_calls(path: str) -> Counter[str]:
    """Returns the system calls of the gateway's thread for one call of `path`, by name. Raises `RuntimeError` where
    the gateway fails."""
    with TemporaryDirectory(prefix="invoke-gateway-counted-") as folder:
        log = Path(folder, "strace")
        command = [sys.executable, "-m", "loadtests.bench.counted.driven", path, str(CALLS)]
        traced = ["strace", "-qq", "-s", "8", "-o", str(log), *command]  # without -f: the main thread alone
        done = subprocess.run(traced, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"the gateway under strace failed:\n{done.stderr[-2000:]}")
        return _find_smallest(log.read_text(errors="replace").splitlines())


def _find_smallest(lines: Iterable[str]) -> Counter[str]:
    """Returns the smallest count of those between a read of a request and the next: in others a timer runs besides."""
    counts: list[Counter[str]] = []
    for line in lines:
        name, is_call, rest = line.partition("(")
        if not is_call or name in _OF_THREADS:
            continue
        if name.startswith(("read", "recv")) and '"POST /' in rest:
            counts.append(Counter())
        if counts:
            counts[-1][name] += 1
    return min(counts[WARM_UP:-1], key=Counter.total)
