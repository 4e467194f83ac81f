"""Measures a million configured functions beside one: start-up time, memory, and CPU time per forwarded request."""

import json
import time
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from loadtests.bench import calls
from loadtests.bench.compare import WARM_UP_SECONDS, Tell
from loadtests.bench.load import Sample, measure
from loadtests.bench.paths import FORWARDED
from loadtests.bench.peers import Peer
from loadtests.bench.processes import Process, Trouble
from loadtests.bench.stage import Running, Stage

MILLION = 1_000_000
# One function in ten has a reservation, of one slot.
RESERVED_EVERY = 10
# The most that a request over a million functions may cost, in requests over one.
AT_MOST = 1.10
# Two of the 32 calls under way may meet at a reservation of one: this share may be refused.
REFUSED_SHARE = 0.0005
START_SECONDS = 180.0


@dataclass
class Scale:
    """Holds the gateway with this many functions. `peak_bytes`: its maximum memory, reached while starting."""

    functions: int
    start_seconds: float
    resident_bytes: int
    peak_bytes: int
    samples: list[Sample] = field(default_factory=list)
    lone_samples: list[Sample] = field(default_factory=list)
    loaded_bytes: int = 0

    @property
    def microseconds(self) -> float:
        return median(sample.microseconds for sample in self.samples)

    @property
    def lone_microseconds(self) -> float:
        """Returns the same for calls to a single function."""
        return median(sample.microseconds for sample in self.lone_samples)


@dataclass(frozen=True)
class Comparison:
    one: Scale
    many: Scale

    @property
    def ratio(self) -> float:
        """Returns the cost of a million functions, called at random, over that of a single one: the goal."""
        return self.many.microseconds / self.one.lone_microseconds

    @property
    def configured_ratio(self) -> float:
        """Returns the part of the ratio that the settings cause: the same calls to both."""
        return self.many.microseconds / self.one.microseconds

    @property
    def is_good(self) -> bool:
        return self.ratio <= AT_MOST

    @property
    def bytes_per_function(self) -> float:
        added = self.many.functions - self.one.functions
        return (self.many.resident_bytes - self.one.resident_bytes) / added


def run(functions: int, gateway: Peer, rounds: int, seconds: float, tell: Tell) -> Comparison:
    """Starts both gateways, and loads them in turn with the same calls. Raises Trouble.

    The calls go to as many names at random as the larger one has functions, and to a single one. Only the settings
    differ.
    """
    with Stage(FORWARDED) as stage:
        pairs = [_start(stage, gateway, count, tell) for count in (1, functions)]
        for number in range(rounds):
            for scale, running in pairs if number % 2 else reversed(pairs):
                tell(f"round {number + 1} of {rounds}, functions configured: {scale.functions:,}")
                scale.samples.append(_measure(running, functions, seconds))
                scale.lone_samples.append(_measure(running, 1, seconds))
        for scale, running in pairs:
            scale.loaded_bytes = running.process.resident_bytes()
        return Comparison(*(scale for scale, _ in pairs))


def _start(stage: Stage, gateway: Peer, functions: int, tell: Tell) -> tuple[Scale, Running]:
    tell(f"functions configured: {functions:,}: writing the settings, starting")
    place = stage.place(f"gateway-{functions}")
    settings = place.directory / "settings.json"
    settings.write_text(json.dumps(_settings(functions, place.backend)))
    listeners = (f"--listen=127.0.0.1:{place.port}", f"--admin=127.0.0.1:{place.admin}")
    peer = replace(gateway, arguments=("serve", f"--config={settings}", *listeners))
    started = time.monotonic()
    process = stage.spawn(peer, place)
    seconds = _wait_for_health(process, place.admin, started)
    scale = Scale(functions, seconds, process.resident_bytes(), process.resident_bytes("VmHWM"))
    running = stage.try_out(peer, process, place, calls.invocation("function-0000000", place.port))
    _measure(running, functions, WARM_UP_SECONDS)
    return scale, running


def _settings(functions: int, backend: int) -> dict[str, Any]:
    reserved = {"reserved_concurrent_executions": 1}
    return {
        "backend": {"url": f"http://127.0.0.1:{backend}"},
        "accounts": {
            "default": {
                "concurrent_executions": 2 * MILLION,
                "functions": {
                    f"function-{number:07d}": {} if number % RESERVED_EVERY else reserved
                    for number in range(1, functions)
                }
                | {"function-0000000": {}},
            }
        },
    }


def _wait_for_health(process: Process, port: int, started: float) -> float:
    """Returns the seconds from the start to the first 200 of /healthz."""
    while not calls.is_healthy(port):
        process.check()
        if time.monotonic() > started + START_SECONDS:
            raise Trouble(f"the gateway was not healthy within {START_SECONDS:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - started


def _measure(running: Running, names: int, seconds: float) -> Sample:
    """Takes one sample of calls to `names` functions at random. They need not be in the gateway's settings."""
    sample = measure(running.process, running.port, running.request, seconds, names)
    if sample.broken or sample.failed > REFUSED_SHARE * sample.requests:
        raise Trouble(
            f"over {names} names {sample.failed} of {sample.requests} requests failed"
            f" and {sample.broken} connections broke"
        )
    return sample
