"""Measures an admission with shared counters: CPU time of client and store by size of the batch, the store's memory,
and its heartbeats.

The real tally and the real scripts run over one connection, against a Redis of its own.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from invoke_gateway.counters.shared.connecting import SERVER_RULES, run_of
from invoke_gateway.counters.shared.messages import RequestIdentity, Take
from invoke_gateway.counters.shared.script import RENEW, base_key
from invoke_gateway.counters.shared.tally import Holding, Tally
from invoke_gateway.policy.concurrency import OWN, Claim, Lane
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits
from invoke_gateway.refusals import Refusal
from invoke_gateway.store.connection import StoreConnection
from invoke_gateway.store.errors import StoreUnavailable
from loadtests.bench.processes import Trouble

BATCHES = (1, 8, 64, 500)
GATEWAYS = (1, 100, 1000)
LEASE_MS = 10_000
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Holds medians over the rounds, in microseconds for each admission and its release. `waited`: one whole exchange,
    from making a batch to applying its reply."""

    batch: int
    client: float
    store: float
    waited: float


@dataclass(frozen=True)
class Beat:
    """Holds the microseconds of one renewal when so many gateways share an account."""

    gateways: int
    client: float
    store: float


class Memory(NamedTuple):
    """Holds bytes in the store: with the gateway alone, for each further counter in use (in its copy and in the sums),
    and for each further running call."""

    gateway: float
    counter: float
    call: float


@dataclass(frozen=True)
class Result:
    program: str
    machine: str
    costs: list[Cost]
    beats: list[Beat]
    memory: Memory
    register_ms: float


class Store:
    """Runs a server process on a free port of loopback, without a disk."""

    def __init__(self, program: str) -> None:
        self._directory = tempfile.TemporaryDirectory()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen(
            [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self._directory.name],
            stdout=subprocess.DEVNULL,
        )

    def cpu_seconds(self) -> float:
        """Reads ticks of a hundredth of a second, so it is exact only over a second or more."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        self._directory.cleanup()


@asynccontextmanager
async def connected(program: str) -> AsyncIterator[tuple[Store, StoreConnection]]:
    store = Store(program)
    try:
        link = StoreConnection(f"redis://127.0.0.1:{store.port}/0", SERVER_RULES, where="the store")
        for _ in range(100):
            try:
                await link.open()
                break
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        else:
            raise Trouble(f"{program} did not start")
        yield store, link
        await link.close()
    finally:
        store.close()


def _limits(functions: int) -> AccountLimits:
    """Returns limits in which half of the functions have a reservation. Nothing is refused."""
    reserved = {f"function-{number}": FunctionLimits(1000) for number in range(0, functions, 2)}
    return AccountLimits("000000000000", 50_000_000, reserved)


async def _talk(link: StoreConnection, tally: Tally) -> list[tuple[Take, Any]]:
    request = tally.next_request(run_of(link), time.monotonic())
    if request is None:
        return []
    script, argument = request
    (reply,) = await link.call([("EVALSHA", script.sha, 1, base_key(tally.account), argument)])
    return tally.apply_reply(reply, time.monotonic())


async def _register(link: StoreConnection, name: str, account: str = "000000000000") -> Tally:
    """Registers a tally. In a new store it is refilled first."""
    tally = Tally(account, RequestIdentity(name, LEASE_MS, 0, 5.0))
    await _talk(link, tally)
    return tally


async def _end_refill(link: StoreConnection, tally: Tally) -> None:
    """Ends the refill, as a lease of waiting would."""
    await link.call([("HSET", f"{base_key(tally.account)}:state", "refill", 0)])


async def _rounds(link: StoreConnection, tally: Tally, limits: AccountLimits, batch: int, seconds: float) -> int:
    """Takes `batch` slots, and releases them with the next batch, repeatedly. Returns the number taken."""
    end = time.monotonic() + seconds
    taken = 0
    running: list[Holding] = []
    number = 0
    while time.monotonic() < end:
        for holding in running:
            tally.release(holding)
        running = []
        for _ in range(batch):
            number += 1
            tally.enqueue(Take(limits.plan(f"function-{number % 100}")))
        for _, answer in await _talk(link, tally):
            if not isinstance(answer, Holding):
                raise Trouble(f"a take was answered with {answer}")
            running.append(answer)
        taken += batch
    for holding in running:
        tally.release(holding)
    await _talk(link, tally)
    return taken


async def _cost(store: Store, link: StoreConnection, tally: Tally, batch: int, rounds: int, seconds: float) -> Cost:
    limits = _limits(100)
    clients, stores, waits = [], [], []
    for _ in range(rounds):
        client, server, began = time.process_time(), store.cpu_seconds(), time.monotonic()
        taken = await _rounds(link, tally, limits, batch, seconds)
        clients.append((time.process_time() - client) / taken * 1e6)
        stores.append((store.cpu_seconds() - server) / taken * 1e6)
        waits.append((time.monotonic() - began) / taken * batch * 1e6)
    return Cost(batch, median(clients), median(stores), median(waits))


async def _beats(store: Store, link: StoreConnection, gateways: int, rounds: int, seconds: float) -> Beat:
    tallies = [await _register(link, f"g-{number:08x}", f"{gateways:012d}") for number in range(gateways)]
    stores, clients = [], []
    for _ in range(rounds):
        end, beats = time.monotonic() + seconds, 0
        client, server = time.process_time(), store.cpu_seconds()
        while time.monotonic() < end:
            tally = tallies[beats % gateways]
            renewal = tally.make_renewal(run_of(link), "the same")
            assert renewal is not None, "registered"
            await link.call([("EVALSHA", RENEW.sha, 1, base_key(tally.account), renewal[1])])
            beats += 1
        clients.append((time.process_time() - client) / beats * 1e6)
        stores.append((store.cpu_seconds() - server) / beats * 1e6)
    return Beat(gateways, median(clients), median(stores))


async def _used(link: StoreConnection) -> int:
    (info,) = await link.call([("INFO", "memory")])
    return next(int(line.split(b":")[1]) for line in info.splitlines() if line.startswith(b"used_memory:"))


async def _memory(link: StoreConnection, counters: int = 10_000, deep: int = 100) -> tuple[Memory, float]:
    """Registers all names first, so that only counts are added to the store. Also returns the milliseconds for which
    the largest of these scripts blocks the store."""
    before = await _used(link)
    tallies = [await _register(link, f"h-{number:08x}") for number in range(100)]
    each = (await _used(link) - before) / len(tallies)
    before = await _used(link)
    tally = tallies[0]
    lane = Lane("own", (Claim(OWN, None, Refusal.CONCURRENCY, "own"),))
    held = [tally.holding_of(lane, f"000000000000/function/function-{number:06d}") for number in range(counters)]
    for holding in held:
        holding.held = 1
    tally.fence(tally.epoch)
    began = time.monotonic()
    await _talk(link, tally)
    register_ms = (time.monotonic() - began) * 1000
    wide = await _used(link) - before
    before = await _used(link)
    for holding in held:
        holding.held = deep
    tally.fence(tally.epoch)
    await _talk(link, tally)
    deeper = await _used(link) - before
    return Memory(each, wide / counters, deeper / (counters * (deep - 1))), register_ms


async def _measure(program: str, rounds: int, seconds: float, tell: Callable[[str], None]) -> Result:
    async with connected(program) as (store, link):
        tally = await _register(link, "g-measured")
        await _end_refill(link, tally)
        costs = []
        for batch in BATCHES:
            tell(f"batches of {batch}: {rounds} rounds of {seconds:g} s")
            costs.append(await _cost(store, link, tally, batch, rounds, seconds))
        beats = []
        for gateways in GATEWAYS:
            tell(f"heartbeats of {gateways} gateways")
            beats.append(await _beats(store, link, gateways, rounds, seconds))
    async with connected(program) as (_, link):
        tell("memory")
        memory, register_ms = await _memory(link)
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    return Result(program, machine, costs, beats, memory, register_ms)


def run(program: str, rounds: int, seconds: float, tell: Callable[[str], None]) -> Result:
    """Measures all of it. Raises Trouble."""
    return asyncio.run(_measure(program, rounds, seconds, tell))


def describe(result: Result) -> str:
    """Returns the result as Markdown."""
    version = subprocess.run([result.program, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    lines = [
        f"{version}; {result.machine}",
        "",
        "| takes in a batch | client, µs of CPU for each | store, µs of CPU for each | a batch, ms |",
        "| ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {cost.batch} | {cost.client:.1f} | {cost.store:.1f} | {cost.waited / 1000:.2f} |" for cost in result.costs
    ]
    memory = result.memory
    lines += [
        "",
        "| gateways | client, µs of CPU for a renewal | store, µs of CPU for a renewal |",
        "| ---: | ---: | ---: |",
        *(f"| {beat.gateways:,} | {beat.client:.0f} | {beat.store:.0f} |" for beat in result.beats),
        "",
        "Bytes in the store: for a gateway {:.0f}, for a counter it uses {:.0f}, for a running call {:.2f}.".format(
            *memory
        ),
        f"A gateway that registers with 10,000 counters keeps the store for {result.register_ms:.0f} ms.",
    ]
    return "\n".join(lines)
