"""Runs wrk against one process, and measures its CPU time."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench import machine
from loadtests.bench.paths import CONNECTIONS
from loadtests.bench.peers import CONFIGS
from loadtests.bench.processes import Process, Trouble


@dataclass(frozen=True)
class Sample:
    """Holds one round. `failed`: responses of 400 and above. `broken`: connections refused, cut or timed out."""

    microseconds: float
    requests: int
    requests_per_second: float
    failed: int
    broken: int
    p50_ms: float
    p99_ms: float


def measure(
    process: Process,
    port: int,
    request: Path,
    seconds: float,
    functions: int = 1,
    pause_ms: float = 0,
    connections: int = CONNECTIONS,
) -> Sample:
    """Loads the process for some seconds. The cost is the CPU time of its whole tree over wrk's requests. `pause_ms`:
    the mean wait of each connection before a request."""
    before = process.cpu_seconds()
    counted = wrk("load.lua", port, connections, seconds, request, functions, pause_ms)
    spent = process.cpu_seconds() - before
    process.check()
    requests = counted["requests"]
    if not requests:
        raise Trouble(f"{process.name} answered nothing")
    return Sample(
        microseconds=1e6 * spent / requests,
        requests=int(requests),
        requests_per_second=requests / counted["seconds"],
        failed=int(counted["failed"]),
        broken=int(counted["broken"]),
        p50_ms=counted["p50_ms"],
        p99_ms=counted["p99_ms"],
    )


def wrk(
    script: str,
    port: int,
    connections: int,
    seconds: float,
    *arguments: object,
    cores: tuple[int, ...] = (machine.LOAD_CORE,),
    host: str = "127.0.0.1",
    options: tuple[str, ...] = (),
) -> dict[str, float]:
    """Returns the output of a script of `configs/` at the end of a run. Raises Trouble. `options`: more of wrk's."""
    duration = max(1, round(seconds))  # wrk takes whole seconds
    what = ("-s", CONFIGS / script, f"http://{host}:{port}", "--", *map(str, arguments))
    command = ("wrk", "-t1", f"-c{connections}", f"-d{duration}s", *options, *what)
    try:
        with machine.on_core(*cores):
            run = subprocess.run(command, capture_output=True, text=True, timeout=duration + 20)
    except FileNotFoundError as error:
        raise Trouble("wrk is missing: apt install wrk") from error
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"wrk did not end within {duration + 20} s") from error
    found = re.search(r"^RESULT (.*)$", run.stdout, re.MULTILINE)
    if not found:
        raise Trouble(f"wrk failed: {(run.stdout + run.stderr).strip()[-300:]}")
    counted: dict[str, float] = json.loads(found[1])
    return counted
