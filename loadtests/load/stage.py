"""Starts a gateway and a Locust for one scenario on free ports, waits for them, and ends them by their ids."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from loadtests.bench.processes import Process, Processes, Trouble, free_port
from loadtests.load.outcome import Outcome
from loadtests.load.scenarios import Scenario

ROOT = Path(__file__).parents[2]
# Start-up, the wait for quiet and the report, beside the scenario's own time; then something hangs.
OTHER_SECONDS = 90
TICK_SECONDS = 0.1


class Target(NamedTuple):
    """Names a gateway: its origin, and host:port of its admin listener."""

    host: str
    admin: str


def run_scenario(
    scenario: Scenario, results: Path, target: Target | None, seconds: float, tick: Callable[[float], None]
) -> Outcome:
    """Runs it, against a gateway of its own unless there is a `target`. Locust's report goes to `results`.

    `tick` is called with the seconds that pass, several times a second. Raises Trouble when something does not start.
    """
    with TemporaryDirectory(prefix="invoke-gateway-load-") as name, Processes() as processes:
        directory = Path(name)
        gateway = None
        if target is None:
            gateway, target = start_gateway(processes, scenario.gateway, directory)
        summary = directory / "summary.json"
        locust = start_locust(processes, scenario, directory, target, seconds, summary, results)
        deadline = time.monotonic() + 3 * seconds + OTHER_SECONDS
        while (code := locust.popen.poll()) is None:
            time.sleep(TICK_SECONDS)
            tick(TICK_SECONDS)
            if time.monotonic() > deadline:
                raise Trouble(f"{scenario.name} was not done after {3 * seconds + OTHER_SECONDS:.0f} s")
        if gateway is not None:
            gateway.check()
        return read_outcome(scenario, summary, locust, code)


def start_gateway(processes: Processes, flags: tuple[str, ...], directory: Path) -> tuple[Process, Target]:
    """Starts a gateway on the demo backend, and waits until it listens."""
    place = directory / "gateway"
    place.mkdir()
    port, admin = free_port(), free_port()
    listeners = (f"--listen=127.0.0.1:{port}", f"--admin=127.0.0.1:{admin}")
    command = [sys.executable, "-m", "invoke_gateway", "serve", "--backend=demo", *listeners, *flags]
    process = processes.start("the gateway", command, place)
    process.wait_for(port)
    process.wait_for(admin)
    return process, Target(f"http://127.0.0.1:{port}", f"127.0.0.1:{admin}")


def start_locust(
    processes: Processes,
    scenario: Scenario,
    directory: Path,
    target: Target,
    seconds: float,
    summary: Path,
    results: Path,
) -> Process:
    place = directory / "locust"
    place.mkdir()
    command = [
        *(sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / f"{scenario.name}.py"), "--headless"),
        *("--only-summary", f"--host={target.host}", f"--admin={target.admin}", *scenario.locust),
        *(f"--summary={summary}", f"--html={results / scenario.name}.html"),
    ]
    # What ends by itself still needs a bound.
    command.append(f"--run-time={seconds if scenario.is_timed else 3 * seconds + 30:.0f}s")
    return processes.start("locust", command, place, environment={"PYTHONPATH": str(ROOT)})


def read_outcome(scenario: Scenario, summary: Path, locust: Process, code: int) -> Outcome:
    """Reads Locust's result. A bad exit without a recorded failure is a failure of its own."""
    try:
        outcome = Outcome.read(summary)
    except (OSError, ValueError):
        outcome = Outcome(scenario.name)
    if code and not outcome.failures:
        lines = [line for line in locust.log.read_text(errors="replace").splitlines() if line.strip()]
        outcome.failures[f"Locust ended with {code}: {' | '.join(lines[-3:])}"] = 1
    return outcome
