"""Lists the gateway's top functions under the forwarded and the refused load.

py-spy samples the running process from outside, without pausing it. Pauses would slow it by a third and, because they
take effect at the next system call, would overrate system calls. Without pauses a few samples are invalid; they are
dropped. Where py-spy is missing or not permitted, cProfile runs inside, which overrates small calls.
"""

import pstats
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from loadtests.bench import machine
from loadtests.bench.compare import WARM_UP_SECONDS
from loadtests.bench.peers import VENV, Peer
from loadtests.bench.processes import Trouble
from loadtests.bench.stage import Stage

SAMPLES_PER_SECOND = 500
TOP = 10
TOP_PACKAGES = 5

Key = TypeVar("Key")


class Function(NamedTuple):
    name: str
    file: str


# What was spent in each function itself, in samples or in seconds.
Costs = Mapping[Function, float]


@dataclass(frozen=True)
class Profile:
    """Holds each function's and each package's own share of the CPU time per request, the largest first."""

    path: str
    profiler: str
    microseconds: float
    functions: Mapping[Function, float]
    packages: Mapping[str, float]


def profile(path: str, gateway: Peer, seconds: int, native: bool) -> Profile:
    """Loads the gateway on one path and samples it. `native` includes C functions (py-spy only)."""
    program = shutil.which("py-spy", path=str(VENV)) or shutil.which("py-spy")
    if program and (found := _sampled(program, path, gateway, seconds, native)):
        return found
    return _traced(path, gateway, seconds)


def _sampled(program: str, path: str, gateway: Peer, seconds: int, native: bool) -> Profile | None:
    with Stage(path) as stage:
        running = stage.start(gateway)
        running.measure(WARM_UP_SECONDS)
        stacks = stage.directory / "stacks"
        command = [program, "record", "--nonblocking", "--format=raw", f"--rate={SAMPLES_PER_SECOND}"]
        command += ["--native"] if native else []
        command += [f"--duration={seconds}", f"--pid={running.process.pid}", f"--output={stacks}"]
        with machine.on_core(machine.LOAD_CORE):
            spy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            sample = running.measure(seconds + 1)
            spy.wait(30)
        finally:
            spy.kill()
            spy.wait()
        if spy.returncode or not stacks.exists():
            return None
        return _summed_up(path, "py-spy", sample.microseconds, _from_stacks(stacks.read_text()))


def _traced(path: str, gateway: Peer, seconds: int) -> Profile:
    with Stage(path) as stage:
        statistics = stage.directory / "statistics"
        running = stage.start(gateway, (sys.executable, "-m", "cProfile", "-o", str(statistics)))
        sample = running.measure(seconds)
        stage.release()  # so that it need not wait for the call that fills its slot
        stage.processes.stop(running.process)
        if not statistics.exists():
            raise Trouble("the gateway did not end by itself within 5 s, so that cProfile wrote nothing")
        return _summed_up(path, "cProfile", sample.microseconds, _from_statistics(statistics))


def _from_stacks(text: str) -> Costs:
    """Reads lines `outermost;...;innermost COUNT`, with each frame as `function (file:line)`."""
    costs: Counter[Function] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        function = _function(stack.rpartition(";")[2])
        if function and count.isdigit():  # else it was read while it was changing
            costs[function] += int(count)
    return costs


def _function(frame: str) -> Function | None:
    """Drops the line within the function, so that a function has one row."""
    found = re.fullmatch(r"(.+) \(([^()]+?)(:\d+)?\)", frame)
    return Function(found[1], _short(found[2])) if found else None


def _from_statistics(path: Path) -> Costs:
    timings: Mapping[tuple[str, int, str], tuple[int, int, float, float, object]]
    timings = pstats.Stats(str(path)).stats  # typeshed leaves it out
    costs: dict[Function, float] = {}
    for (file, _, name), (_, _, own, _, _) in timings.items():
        function = Function(name, _short(file))
        costs[function] = costs.get(function, 0) + own
    return costs


def _summed_up(path: str, profiler: str, microseconds: float, costs: Costs) -> Profile:
    everything = sum(costs.values()) or 1
    packages: dict[str, float] = {}
    for function, cost in costs.items():
        package = function.file.partition("/")[0]
        packages[package] = packages.get(package, 0) + cost / everything
    functions = {function: cost / everything for function, cost in costs.items()}
    return Profile(path, profiler, microseconds, _dearest(functions, TOP), _dearest(packages, TOP_PACKAGES))


def _dearest(shares: Mapping[Key, float], count: int) -> dict[Key, float]:
    return dict(sorted(shares.items(), key=lambda item: item[1], reverse=True)[:count])


def _short(file: str) -> str:
    """Returns the path below the repository, `site-packages` or the standard library; `(C)` without a path."""
    if file == "~":
        return "(C)"
    return re.sub(r"^.*/(?:site-packages|python3\.\d+)/", "", file.removeprefix(f"{Path.cwd()}/"))
