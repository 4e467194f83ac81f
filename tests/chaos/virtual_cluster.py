"""A cluster without processes and sockets: fake gateways, the lines to their store and the backend, in virtual time.

The gateways are those of `fake_sharing`; the store carries out the same commands as its script.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any

from invoke_gateway.chaos.backend import encode_result
from invoke_gateway.chaos.calls import CallEnding, GatewayInstance, PlannedCall
from invoke_gateway.chaos.cluster import GatewayCluster, Sharing
from invoke_gateway.chaos.faults.proxy import Flow
from invoke_gateway.chaos.judging.checker import check_answer, record_silence
from invoke_gateway.chaos.judging.history import CallHistory
from invoke_gateway.chaos.traffic.clients import CallRoute, ClientBehaviour
from invoke_gateway.chaos.wire import HttpAnswer

from .fake_sharing import SharedFake, SharedFlaw

WIRE_SECONDS = (0.0005, 0.002)  # that a message is on its way
START_SECONDS = 0.3  # that a gateway needs until it listens


class VirtualStore:
    """The sums, the leases and the epochs; times in milliseconds, as in the script."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._clear()

    def _clear(self) -> None:
        self.sums: Counter[str] = Counter()
        self._of: dict[str, Counter[str]] = {}
        self._leases: dict[str, float] = {}
        self._epochs: dict[str, int] = {}
        self._born: float | None = None

    async def flush(self) -> None:
        self._clear()

    async def restart_empty(self, seconds: float) -> None:
        self._clear()
        await asyncio.sleep(seconds)

    def run(self, gid: str, epoch: int, lease: int, prune: int, flaw: str, command: str, *words: Any) -> str:
        now = self._clock() * 1000
        for ended in [gid for gid, until in self._leases.items() if until <= now - prune]:
            self._subtract(ended)
            del self._leases[ended]
            self._epochs.pop(ended, None)
        if command == "register":
            return self._register(gid, epoch, now, lease, flaw, words)
        is_fenced = self._leases.get(gid, 0) < now or self._epochs.get(gid, 0) != epoch
        if is_fenced and flaw != SharedFlaw.NO_FENCE:
            return "FENCED"
        self._leases[gid] = now + lease
        if command != "release" and now < (self._born or 0):
            return "REFILLING"
        if command == "take":
            lane, ceiling = words
            if self.sums[lane] >= ceiling:
                return "FULL"
        if command != "renew":
            by = 1 if command == "take" else -1
            self.sums[words[0]] += by
            self._of.setdefault(gid, Counter())[words[0]] += by
        return "OK"

    def _register(self, gid: str, epoch: int, now: float, lease: int, flaw: str, held: tuple[Any, ...]) -> str:
        if epoch <= self._epochs.get(gid, 0):
            return "LATE"
        if self._born is None:
            self._born = 0 if flaw == SharedFlaw.NO_REFILL else now + lease
        self._subtract(gid)
        self._of[gid] = Counter(dict(zip(held[::2], held[1::2], strict=True)))
        self.sums.update(self._of[gid])
        self._leases[gid] = now + lease
        self._epochs[gid] = epoch
        return "OK"

    def _subtract(self, gid: str) -> None:
        self.sums.subtract(self._of.pop(gid, Counter()))


class VirtualProxy:
    """As `FaultProxy`, of messages. A stalled message comes late, or never where the line is reset."""

    def __init__(self, store: VirtualStore, rng: Random) -> None:
        self.delay = (0.0, 0.0)
        self.refuses = False
        self._store = store
        self._rng = rng
        self._flows = (Flow.PASS, Flow.PASS)
        self._changed = asyncio.Event()
        self._under_way: dict[asyncio.Task[str], None] = {}  # in order, so that a seed is the same each time
        self._is_cut = False

    def set_flows(self, to_store: Flow, to_gateway: Flow) -> None:
        self._flows = (to_store, to_gateway)
        self._changed.set()
        self._changed = asyncio.Event()

    def clear(self) -> None:
        self.delay = (0.0, 0.0)
        self.refuses = False
        self.set_flows(Flow.PASS, Flow.PASS)

    def reset(self) -> None:
        """What is under way is lost; where nothing is, the next message finds its line cut."""
        self._is_cut = not self._under_way
        for exchange in list(self._under_way):
            exchange.cancel()

    def half_close(self, *, towards_store: bool) -> None:
        self.reset()

    async def exchange(self, *words: Any) -> str:
        """Raises `OSError`. Who gives up has not taken back what it sent."""
        if self.refuses:
            raise ConnectionRefusedError
        if self._is_cut:
            self._is_cut = False
            raise ConnectionResetError
        exchange = asyncio.create_task(self._carry(*words))
        self._under_way[exchange] = None
        exchange.add_done_callback(self._under_way.pop)
        await asyncio.wait([exchange])
        if exchange.cancelled():
            raise ConnectionResetError
        return exchange.result()

    async def _carry(self, *words: Any) -> str:
        await self._pass(0)
        reply = self._store.run(*words)
        await self._pass(1)
        return reply

    async def _pass(self, direction: int) -> None:
        await asyncio.sleep(self._rng.uniform(*WIRE_SECONDS) + self._rng.uniform(*self.delay))
        while self._flows[direction] is not Flow.PASS:
            if self._flows[direction] is Flow.DROP:
                await asyncio.Event().wait()
            await self._changed.wait()


class VirtualGateway(SharedFake):
    """Stands still while `runs` is not set, wherever it waits."""

    def __init__(
        self,
        settings: dict[str, Any],
        flaw: SharedFlaw,
        proxy: VirtualProxy,
        run: Callable[[PlannedCall], Awaitable[bool]],
    ) -> None:
        super().__init__(settings, flaw)
        self.gid = f"{proxy._rng.getrandbits(32):08x}"
        self.runs = asyncio.Event()
        self.runs.set()
        self._proxy = proxy
        self._run = run
        self._calls: dict[bytes, PlannedCall] = {}

    async def exchange(self, *words: object) -> str:
        _, _, _, *command = words  # EVAL, the script, no keys
        await self.runs.wait()
        try:
            return await self._proxy.exchange(*command)
        finally:
            await self.runs.wait()

    async def call(self, call: PlannedCall) -> HttpAnswer:
        head = f"POST /functions/{call.function}/ {call.id}".encode()
        self._calls[head] = call
        await self.runs.wait()
        written = await self._invoke(head, asyncio.StreamReader())
        assert written is not None
        await self.runs.wait()
        lines, _, body = written.partition(b"\r\n\r\n")
        first, *rest = lines.decode().split("\r\n")
        return HttpAnswer(int(first.split()[1]), dict(line.split(": ") for line in rest), body)

    async def _forward(self, head: bytes, body: bytes) -> bytes | None:
        call = self._calls.pop(head)
        answered = await asyncio.shield(asyncio.ensure_future(self._run(call)))
        await self.runs.wait()
        return encode_result(call) if answered else None


class VirtualNode:
    """As `ProxiedNode`."""

    def __init__(self, number: int, make: Callable[[], VirtualGateway], proxy: VirtualProxy) -> None:
        self.number = number
        self.proxy = proxy
        self.is_up = False
        self.invoke = self
        self.gateway: GatewayInstance
        self.fake: VirtualGateway
        self._make = make
        self._tasks: dict[asyncio.Task[Any], None] = {}

    async def start(self) -> None:
        self.gateway = GatewayInstance(f"gateway {self.number + 1}")
        await asyncio.sleep(START_SECONDS)
        self.fake = self._make()
        self._begin(self.fake.renew())
        while not self.fake.is_ready:  # noqa: ASYNC110 - as /readyz is polled
            await asyncio.sleep(0.02)
        self.is_up = True

    def _begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    async def call(self, call: PlannedCall) -> HttpAnswer | None:
        """Its answer; None where it was killed. A client that leaves does not end the call."""
        if not self.is_up:
            raise ConnectionRefusedError
        task = self._begin(self.fake.call(call))
        await asyncio.wait([task])
        return None if task.cancelled() else task.result()

    def kill(self, now: float) -> None:
        self.is_up = False
        self.gateway.killed_at = now
        for task in list(self._tasks):
            task.cancel()

    def send(self, number: signal.Signals) -> None:
        (self.fake.runs.clear if number == signal.SIGSTOP else self.fake.runs.set)()

    def check(self) -> None:
        pass


class VirtualCluster(GatewayCluster):
    """As `GatewayCluster`; `history` is the backend's."""

    def __init__(self, sharing: Sharing, flaw: SharedFlaw, history: CallHistory, rng: Random) -> None:
        self._history = history
        self._runs: set[asyncio.Task[bool]] = set()
        self._sums = VirtualStore(history.clock)
        settings = sharing.settings("redis://store:1") | {
            "backend": {"url": "http://backend:1", "timeout_seconds": sharing.timeout_seconds}
        }
        nodes: list[Any] = []
        for number in range(sharing.gateways):
            proxy = VirtualProxy(self._sums, rng)

            def make(proxy: VirtualProxy = proxy) -> VirtualGateway:
                return VirtualGateway(settings, flaw, proxy, self._run)

            nodes.append(VirtualNode(number, make, proxy))
        store: Any = self._sums
        super().__init__(sharing, store, nodes)

    async def start(self) -> None:
        await asyncio.gather(*(node.start() for node in self.nodes))

    def stop(self) -> None:
        for node in self.nodes:
            node.kill(self._history.clock())

    async def count_in_flight(self) -> tuple[int | None, int | None]:
        held = [sum(node.fake.in_flight.values()) for node in self._up()]
        return self._sums.sums.total(), sum(held) if held else None

    def _up(self) -> list[VirtualNode]:
        nodes: list[Any] = self.nodes
        return [node for node in nodes if node.is_up]

    async def _run(self, call: PlannedCall) -> bool:
        """The backend: goes on whatever becomes of the gateway. Whether it answers well."""
        task = asyncio.create_task(self._run_function(call))
        self._runs.add(task)
        task.add_done_callback(self._runs.discard)
        return await asyncio.shield(task)

    async def _run_function(self, call: PlannedCall) -> bool:
        run = self._history.begin(call)
        await asyncio.sleep(call.seconds)
        self._history.end(run)
        return call.ending in (CallEnding.ANSWERS, CallEnding.TRICKLES)


async def invoke(route: CallRoute, call: PlannedCall, behaviour: ClientBehaviour, rng: Random) -> HttpAnswer | None:
    """As `clients.invoke`, of the behaviours that a workload has."""
    history = route.history
    node: Any = route.direct(call)
    history.open(call)
    if behaviour is ClientBehaviour.STALLS_IN_BODY:
        await asyncio.sleep(rng.uniform(0.1, 0.6))
    await asyncio.sleep(rng.uniform(*WIRE_SECONDS))
    history.send(call)
    try:
        answering = asyncio.ensure_future(node.call(call))
        if behaviour in (ClientBehaviour.LEAVES_DURING, ClientBehaviour.LOSES_PATIENCE):
            patience = rng.uniform(0, 0.06)
            moment = call.arrived.wait() if behaviour is ClientBehaviour.LEAVES_DURING else asyncio.sleep(patience)
            leaving = asyncio.ensure_future(moment)
            await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
            leaving.cancel()
            if not answering.done():
                answering.cancel()
                history.answers["left"] += 1
                history.left(call)
                return None
        answer: HttpAnswer | None = await answering
    except OSError as error:
        record_silence(history, call, repr(error))
        return None
    check_answer(history, call, answer)
    return answer
