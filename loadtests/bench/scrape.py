"""Measures the effect of a scrape of /metrics on requests.

One gateway has ten thousand labelled functions, each with a duration histogram; the other has one. Both are also
measured without a scrape.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from statistics import median
from typing import Any

from loadtests.bench import calls, machine
from loadtests.bench.compare import Tell
from loadtests.bench.paths import FORWARDED
from loadtests.bench.peers import Peer
from loadtests.bench.processes import Trouble
from loadtests.bench.report import Report, Table, mebibytes
from loadtests.bench.stage import Running, Stage

FUNCTIONS = 10_000
# The longest that one scrape may hold up the event loop, in milliseconds.
AT_MOST_MS = 20.0
START_SECONDS = 20.0
# Between two scrapes, so that what one leaves behind does not count as the next one's.
REST_SECONDS = 0.2


@dataclass(frozen=True)
class Scrape:
    """Holds one scrape as its client measured it."""

    began: float
    seconds: float
    size: int


@dataclass
class Scale:
    """Holds the gateway with this many labelled functions. `quiet_ms` and `scraped_ms`: milliseconds of a client's
    invokes, one after another, without and during a scrape."""

    functions: int
    quiet_ms: list[float] = field(default_factory=list, repr=False)
    scraped_ms: list[float] = field(default_factory=list, repr=False)
    longest_per_scrape_ms: list[float] = field(default_factory=list)
    scrapes: list[Scrape] = field(default_factory=list)

    @property
    def scrape_seconds(self) -> float:
        return median(scrape.seconds for scrape in self.scrapes)

    @property
    def pause_ms(self) -> float:
        """Returns the milliseconds that a scrape adds to the longest invoke: the median over the scrapes, because on a
        shared machine other processes delay single calls."""
        return median(self.longest_per_scrape_ms) - median(self.quiet_ms)

    @property
    def figures(self) -> dict[str, Any]:
        return {
            "functions": self.functions,
            "quiet_ms": spread(self.quiet_ms),
            "scraped_ms": spread(self.scraped_ms),
            "longest_per_scrape_ms": self.longest_per_scrape_ms,
            "pause_ms": self.pause_ms,
            "scrape_seconds": [scrape.seconds for scrape in self.scrapes],
            "scrape_bytes": self.scrapes[-1].size,
        }


@dataclass(frozen=True)
class Outcome:
    one: Scale
    many: Scale

    @property
    def is_good(self) -> bool:
        return self.many.pause_ms <= AT_MOST_MS


def spread(milliseconds: Sequence[float]) -> dict[str, float]:
    """Returns median, 99th percentile and maximum."""
    ordered = sorted(milliseconds)
    return {"median": median(ordered), "p99": ordered[len(ordered) * 99 // 100], "longest": ordered[-1]}


def run(functions: int, gateway: Peer, scrapes: int, tell: Tell) -> Outcome:
    """Measures both gateways. Raises Trouble."""
    with Stage(FORWARDED) as stage, _scraper() as scraper:
        return Outcome(*(_watch(stage, gateway, count, scrapes, scraper, tell) for count in (1, functions)))


def _watch(
    stage: Stage, gateway: Peer, functions: int, scrapes: int, scraper: ProcessPoolExecutor, tell: Tell
) -> Scale:
    tell(f"labelled functions: {functions:,}: starting, calling each")
    running = start(stage, gateway, functions)
    scale = Scale(functions)
    with machine.on_core(machine.LOAD_CORE), Pinger(running.port) as pinger:
        for number in range(functions):
            pinger.ping(calls.invocation(_name(number), running.port))
        scraper.submit(scrape, running.admin).result()  # the first takes memory that later ones have
        call = calls.invocation(_name(0), running.port)
        tell(f"labelled functions: {functions:,}: {scrapes} scrapes")
        for _ in range(scrapes):
            scale.quiet_ms += [milliseconds for _, milliseconds in pinger.ping_for(REST_SECONDS, call)]
            _scrape_once(scale, pinger, call, scraper.submit(scrape, running.admin))
    running.process.check()
    if not scale.scraped_ms:
        raise Trouble("no invoke was under way during a scrape: ask for more --scrapes")
    return scale


def _scrape_once(scale: Scale, pinger: "Pinger", call: bytes, scraping: Future[Scrape]) -> None:
    """Calls until the scrape is done. Calls that overlap its first to its last byte count."""
    pings = list(pinger.ping_while(lambda: not scraping.done(), call))
    seen = scraping.result()
    during = [took for began, took in pings if seen.began - took / 1e3 <= began <= seen.began + seen.seconds]
    scale.scrapes.append(seen)
    scale.scraped_ms += during
    if during:  # a scrape of one function may be over between two calls
        scale.longest_per_scrape_ms.append(max(during))


class Pinger:
    """Sends calls on one connection, the next as soon as the last is answered."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Pinger":
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def ping(self, call: bytes) -> tuple[float, float]:
        """Returns the start, and the duration in milliseconds. Raises Trouble unless the response is 200."""
        began = time.monotonic()
        self._connection.sendall(call)
        received = self._connection.recv(65536)
        while received and not calls.is_whole(received):
            received += self._connection.recv(65536)
        if not received.startswith(b"HTTP/1.1 200 "):
            raise Trouble(f"an invoke was answered with {received[:80]!r}")
        return began, 1e3 * (time.monotonic() - began)

    def ping_while(self, goes_on: Callable[[], bool], call: bytes) -> Iterator[tuple[float, float]]:
        while goes_on():
            yield self.ping(call)

    def ping_for(self, seconds: float, call: bytes) -> Iterator[tuple[float, float]]:
        end = time.monotonic() + seconds
        return self.ping_while(lambda: time.monotonic() < end, call)


@contextmanager
def _scraper() -> Iterator[ProcessPoolExecutor]:
    """Starts a process of its own: a thread would delay the client beside it by the interpreter's lock."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, machine.on_core(machine.LOAD_CORE):
        pool.submit(time.monotonic).result()  # it is up, on that core
        yield pool


def scrape(port: int) -> Scrape:
    """Fetches /metrics as Prometheus does, and drops it."""
    began = time.monotonic()
    size = 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
        while received := connection.recv(1 << 20):
            size += len(received)
    return Scrape(began, time.monotonic() - began, size)


def start(stage: Stage, gateway: Peer, functions: int) -> Running:
    """Starts a gateway with that many labelled functions, all below their limits. Raises Trouble."""
    place = stage.place(f"{gateway.name}-{functions}")
    settings = place.directory / "settings.json"
    document = {
        "backend": {"url": f"http://127.0.0.1:{place.backend}"},
        "metric_functions": functions,
        "accounts": {
            "default": {
                "concurrent_executions": FUNCTIONS,
                "functions": {_name(number): {} for number in range(functions)},
            }
        },
    }
    settings.write_text(json.dumps(document))
    listeners = (f"--listen=127.0.0.1:{place.port}", f"--admin=127.0.0.1:{place.admin}")
    before = gateway.arguments[: gateway.arguments.index("serve")]
    peer = replace(gateway, arguments=(*before, "serve", f"--config={settings}", *listeners))
    process = stage.spawn(peer, place)
    process.wait_for(place.port, START_SECONDS)
    return stage.try_out(peer, process, place, calls.invocation(_name(0), place.port))


def _name(number: int) -> str:
    return f"function-{number:07d}"


def report(found: Outcome, command: str) -> Report:
    """Makes the report of `scrape`."""
    scales = (found.one, found.many)
    rows = [
        ("seconds for one scrape, median", *(f"{scale.scrape_seconds:.3f}" for scale in scales)),
        ("size of one scrape", *(mebibytes(scale.scrapes[-1].size) for scale in scales)),
        *_spread_rows("ms of an invoke, nobody scrapes", [scale.quiet_ms for scale in scales]),
        *_spread_rows("ms of an invoke during a scrape", [scale.scraped_ms for scale in scales]),
        ("ms that a scrape adds to the longest, median", *(f"{scale.pause_ms:.1f}" for scale in scales)),
    ]
    columns = ("", *(f"{scale.functions:,} labelled" for scale in scales))
    word = "met" if found.is_good else "MISSED"
    line = f"a scrape holds requests up for {found.many.pause_ms:.1f} ms, at most {AT_MOST_MS:.0f} wanted: {word}"
    return Report(
        "scrape",
        command,
        figures={"one": found.one.figures, "many": found.many.figures},
        tables=[Table("Invokes one after another while /metrics is scraped", columns, rows)],
        lines=[line],
    )


def _spread_rows(what: str, measured: Sequence[Sequence[float]]) -> list[tuple[str, ...]]:
    spreads = [spread(one) for one in measured]
    return [(f"{what}, {key}", *(f"{one[key]:.1f}" for one in spreads)) for key in spreads[0]]
