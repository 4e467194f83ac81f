"""Measures the cost of metrics over ten thousand labelled functions: CPU time per invoke with and without counting, and
CPU time of one scrape."""

import sys
from dataclasses import asdict, dataclass, field, replace
from statistics import median

from loadtests.bench.compare import WARM_UP_SECONDS, Tell
from loadtests.bench.load import Sample, measure
from loadtests.bench.paths import FORWARDED
from loadtests.bench.peers import Peer
from loadtests.bench.processes import Trouble
from loadtests.bench.report import Report, Table, spread_of
from loadtests.bench.scrape import scrape, start
from loadtests.bench.stage import Running, Stage

SCRAPES = 10
# What Prometheus does unless it is told otherwise.
SCRAPED_EVERY_SECONDS = 15


@dataclass
class Variant:
    """Holds one of the two gateways: microseconds of CPU time per invoke, to random names and to one name."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    lone_samples: list[Sample] = field(default_factory=list)

    @property
    def microseconds(self) -> float:
        return median(sample.microseconds for sample in self.samples)

    @property
    def lone_microseconds(self) -> float:
        return median(sample.microseconds for sample in self.lone_samples)


@dataclass(frozen=True)
class Cost:
    functions: int
    counted: Variant
    uncounted: Variant
    scrape_cpu_seconds: float


def run(functions: int, gateway: Peer, rounds: int, seconds: float, tell: Tell) -> Cost:
    """Starts both gateways, and loads them in turn with the same calls. Raises Trouble."""
    uncounted = replace(
        gateway,
        name="gateway without counting",
        binary=sys.executable,
        arguments=("-m", "loadtests.bench.uncounted", *gateway.arguments),
    )
    with Stage(FORWARDED) as stage:
        pairs = [(Variant(peer.name), start(stage, peer, functions)) for peer in (gateway, uncounted)]
        for _, running in pairs:
            _measure(running, functions, WARM_UP_SECONDS)
        for number in range(rounds):
            for variant, running in pairs if number % 2 else reversed(pairs):
                tell(f"round {number + 1} of {rounds}: {variant.name}")
                variant.samples.append(_measure(running, functions, seconds))
                variant.lone_samples.append(_measure(running, 1, seconds))
        (counted, running), (without, _) = pairs
        return Cost(functions, counted, without, _measure_scrapes(running))


def _measure(running: Running, names: int, seconds: float) -> Sample:
    sample = measure(running.process, running.port, running.request, seconds, names)
    if sample.broken or sample.failed:
        raise Trouble(f"{sample.failed} of {sample.requests} requests failed, {sample.broken} connections broke")
    return sample


def _measure_scrapes(running: Running) -> float:
    """Returns the CPU seconds of one scrape: the mean of several, without other requests."""
    scrape(running.admin)  # the first takes memory that later ones have
    before = running.process.cpu_seconds()
    for _ in range(SCRAPES):
        scrape(running.admin)
    return (running.process.cpu_seconds() - before) / SCRAPES


def report(found: Cost, command: str) -> Report:
    """Makes the report of `metrics`."""
    variants = (found.counted, found.uncounted)
    rows = [
        (
            f"CPU µs per invoke, {found.functions:,} names at random, median",
            *(f"{v.microseconds:.1f}" for v in variants),
        ),
        ("min..max", *(spread_of([sample.microseconds for sample in v.samples]) for v in variants)),
        ("CPU µs per invoke, one name, median", *(f"{v.lone_microseconds:.1f}" for v in variants)),
        ("min..max", *(spread_of([sample.microseconds for sample in v.lone_samples]) for v in variants)),
        ("CPU ms of one scrape", f"{1e3 * found.scrape_cpu_seconds:.0f}", ""),
    ]
    counted, uncounted = variants
    share = found.scrape_cpu_seconds / SCRAPED_EVERY_SECONDS
    return Report(
        "metrics",
        command,
        figures=asdict(found),
        tables=[Table("With and without counting", ("", "counted", "not counted"), rows)],
        lines=[
            f"counting costs {_compare(counted.microseconds, uncounted.microseconds)}, {found.functions:,} names",
            f"counting costs {_compare(counted.lone_microseconds, uncounted.lone_microseconds)}, one name",
            f"a scrape every {SCRAPED_EVERY_SECONDS} s takes {100 * share:.1f} % of a core",
        ],
    )


def _compare(counted: float, uncounted: float) -> str:
    return f"{counted - uncounted:.1f} µs of CPU per invoke ({counted / uncounted:.2f} ×)"
