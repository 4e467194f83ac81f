"""Store servers, and the connections to them: late, lost, cut, and delivered although nobody waits any more."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from invoke_gateway.counters.shared.script import Script, base_key

from .store import Library, Redis
from .world import World


class Trouble(Enum):
    """What a client sees in place of a reply."""

    BROKEN = "broken"
    TIMEOUT = "time-out"


Reply = Any  # what the server said, or a Trouble
Work = Callable[["Server"], Any]


class Server:
    """One server process. `ahead` is how many seconds its clock is before the world's. `heard` tells for each gateway
    when it was last understood, in the server's milliseconds; `applied` the last batch that the data contains."""

    def __init__(self, world: World, run: str, ahead: float) -> None:
        self._world = world
        self.run = run
        self.ahead = ahead
        self.redis = Redis(self.clock_us)
        self.heard: dict[str, float] = {}
        self.heard_any_ms = 0.0
        self.applied: dict[str, tuple[int, int]] = {}
        self.begun_ms: float | None = None
        self.lives = 0
        self.has_past = False

    def clock_us(self) -> int:
        return 1_800_000_000_000_000 + int((self._world.now + self.ahead) * 1_000_000)

    @property
    def now_ms(self) -> float:
        return self.clock_us() / 1000

    def copy_to(self, replica: Server) -> None:
        self.redis.copy_to(replica.redis)
        replica.applied = dict(self.applied)
        replica.has_past = True

    def forget_everything(self) -> None:
        """FLUSHALL: empty, and still the same process."""
        self.redis.keys.clear()
        self.redis.ends.clear()
        self.begin_anew()

    def begin_anew(self) -> None:
        self.heard.clear()
        self.applied.clear()
        self.begun_ms = None
        self.lives += 1

    def __repr__(self) -> str:
        return self.run


class Network:
    """`loss` and `slow` are probabilities for each message. Nothing is late beyond `calm_from`, when all faults end."""

    def __init__(self, world: World, library: Library, account: str, calm_from: float) -> None:
        self.world = world
        self.library = library
        self.key = base_key(account)
        self.calm_from = calm_from
        self.loss = 0.0
        self.slow = 0.0
        self.most_late = 0.3
        self.server: Server | None = None
        self.cut_until: dict[str, float] = {}
        self.watch: Callable[[Server, str, Script, bytes, bytes], None]
        self._connections: list[Connection] = []

    def is_cut(self, gateway: str) -> bool:
        return self.cut_until.get(gateway, 0.0) > self.world.now

    def connect(self, gateway: str) -> Connection:
        self._connections = [connection for connection in self._connections if connection.is_open]
        connection = Connection(self, gateway)
        self._connections.append(connection)
        return connection

    def break_connections(self, gateway: str | None = None) -> None:
        """Cut those of one gateway, or all."""
        for connection in self._connections:
            if gateway in (None, connection.gateway):
                connection.snap()

    def latency(self) -> float:
        random = self.world.random
        quick = random.uniform(0.0001, 0.002)
        if not self.world.chance(self.slow):
            return quick
        late = quick + random.random() ** 3 * self.most_late
        return min(late, max(quick, self.calm_from - self.world.now))

    def is_lost(self) -> bool:
        return self.world.now < self.calm_from and self.world.chance(self.loss)

    def run_script(self, server: Server, gateway: str, script: Script, argument: bytes) -> bytes:
        if server.begun_ms is None:
            server.begun_ms = server.now_ms
        reply = self.library.run(server.redis, script, self.key, argument)
        self.watch(server, gateway, script, argument, reply)
        return reply


class Connection:
    """TCP as a client sees it: in order, or not at all. Where a message was lost nothing more arrives until it is
    closed; what was sent before it was closed may arrive all the same."""

    def __init__(self, network: Network, gateway: str) -> None:
        self._network = network
        self._world = network.world
        self.gateway = gateway
        self.is_open = True
        self._server: Server | None = None
        self._is_stuck = False
        self._arrived_last = 0.0
        self._then: Callable[[Reply], None] | None = None

    def open(self, then: Callable[[Reply], None]) -> None:
        """Answers with the run of the server that it leads to."""

        def greet(server: Server) -> str:
            self._server = server
            return server.run

        self.ask(greet, then)

    def ask(self, work: Work, then: Callable[[Reply], None]) -> None:
        world, network = self._world, self._network
        self._then = then
        if not self.is_open:
            world.after(0, self._answer, then, Trouble.BROKEN)
            return
        arrival = max(self._arrived_last, world.now + network.latency())
        cut_until = network.cut_until.get(self.gateway, 0.0)
        if cut_until > world.now:
            if world.chance(0.7):
                self._is_stuck = True
            arrival = max(arrival, cut_until + world.random.uniform(0, 0.2))
        if network.is_lost():
            self._is_stuck = True
        if self._is_stuck:
            return
        self._arrived_last = arrival
        world.at(arrival, self._arrive, work, then)

    def close(self) -> None:
        self.is_open = False
        self._then = None

    def snap(self) -> None:
        """Cut from outside: the client sees it when it waits for something, or writes."""
        self.is_open = False
        if self._then is not None:
            self._world.after(self._network.latency(), self._answer, self._then, Trouble.BROKEN)

    def _arrive(self, work: Work, then: Callable[[Reply], None]) -> None:
        world, network = self._world, self._network
        if not self.is_open and world.chance(0.4):
            return  # what a kernel had not sent yet
        server = network.server
        if server is None or (self._server is not None and server is not self._server):
            if world.chance(0.8):
                self.is_open = False
                world.after(network.latency(), self._answer, then, Trouble.BROKEN)
            else:
                self._is_stuck = True
            return
        reply = work(server)
        if network.is_lost() or network.is_cut(self.gateway):
            self._is_stuck = True
            if world.chance(0.5):
                self.is_open = False
                world.after(network.latency(), self._answer, then, Trouble.BROKEN)
            return
        world.after(network.latency(), self._answer, then, reply)

    def _answer(self, then: Callable[[Reply], None], reply: Reply) -> None:
        if self._then is then:
            self._then = None
            then(reply)
