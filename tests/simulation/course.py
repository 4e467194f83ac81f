"""One seed's course of events: traffic and faults, then calm, then every slot is taken once more and given back."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from random import Random
from types import ModuleType

from invoke_gateway.counters.shared import tally
from invoke_gateway.policy.limits import AccountLimits

from .changes import CHANGED, Changes, Tables
from .faults import Faults
from .gateway import Asked, Gateway
from .ledger import Ledger
from .network import Network, Server
from .rules import Rules
from .store import Library
from .world import World

_LIBRARY = Library()
_NAMES = ("checkout", "report", "mail", "thumbnail")


@dataclass
class Summary:
    """What one seed came to."""

    seed: int
    gateways: int
    scripts: int
    fenced: int
    again: int
    calls: int
    excused: int
    heal_seconds: float
    faults: dict[str, int]
    answers: dict[str, int] = field(default_factory=dict)
    early: int = 0
    """Recoveries that ended before their lease had."""


class Expectation:
    """How many gateways were announced to the store, if any, and how many there are: as many, or more. It has a random
    of its own, so that the other courses of events are those of before."""

    def __init__(self, seed: int) -> None:
        random = Random(f"{seed} expects")
        self.kind = random.choices(["none", "kept", "exceeded"], [4, 4, 2])[0]
        self.workers = random.choice([1, 1, 2]) if self.kind != "none" else 1
        self.gateways = 0
        self.processes = 0

    def announce(self, processes: int) -> None:
        """So many processes are there at the start."""
        gateways = -(-processes // self.workers)
        if self.kind == "kept":
            self.gateways, self.processes = gateways, gateways * self.workers
        elif self.kind == "exceeded":
            self.gateways = max(1, gateways - 1)


class Course:
    """Raises `Violation` from `run`."""

    def __init__(self, seed: int, core: ModuleType = tally, library: Library = _LIBRARY) -> None:
        world = self.world = World(seed)
        random = world.random
        self.core = core
        self.lease = random.choice([1.0, 2.0, 4.0])
        self.keep = random.choice([0.0, 0.0, 1.0]) * self.lease
        self.policy = random.choice(["closed"] * 6 + ["share", "open"])
        self.patience = random.choice([0.05, 0.25])
        self.calm_from = 4.0 * self.lease + random.uniform(0, 2)
        terms = core.RequestIdentity("", int(self.lease * 1000), int(self.keep * 1000), self.patience)
        self._terms = terms
        self.expectation = Expectation(seed)
        self.tables = Tables(random.choice([4, 8, 12]), random.choice([2.0, 5.0]), random.choice([0.5, 8.0]))
        self.changes = Changes(self, seed)
        self.network = Network(world, library, "a", self.calm_from)
        self.network.server = Server(world, "run-1", random.uniform(-5, 5))
        self.network.loss = random.choice([0.0, 0.0, 0.01, 0.05])
        self.network.slow = random.choice([0.0, 0.02, 0.2])
        self.network.most_late = random.choice([0.3, 3.0])
        self.ledger = Ledger()
        self.rules = Rules(world, self.network, self.ledger, terms.lease_ms, terms.keep_ms)
        self.rules.is_alive = self._is_alive
        self.rules.tables = self.tables
        self.rules.patience = self.patience
        self.rules.may_exceed = self.expectation.kind == "exceeded"
        self.gateways: list[Gateway] = []
        self.requests: list[tuple[Gateway, Asked]] = []
        self.faults = Faults(self)
        self._gap = 1 / random.choice([2.0, 10.0, 40.0])
        self._weights: list[float] = []

    def _is_alive(self, name: str) -> bool:
        return any(gateway.is_alive for gateway in self.gateways if gateway.name == name)

    def has_room(self) -> bool:
        """True unless there are as many as were announced, where no more than these ever run."""
        most = self.expectation.processes
        return not most or sum(gateway.is_alive for gateway in self.gateways) < most

    def _name(self) -> str:
        workers = self.expectation.workers
        if workers == 1:
            return f"g-{len(self.gateways) + 1}"
        # The first place without a worker that lives; whoever had it before has another name.
        taken = {gateway.name.partition("r")[0] for gateway in self.gateways if gateway.is_alive}
        places = (f"g-{group}.{worker}" for group in count(1) for worker in range(1, workers + 1))
        place = next(place for place in places if place not in taken)
        before = sum(gateway.name.partition("r")[0] == place for gateway in self.gateways)
        return f"{place}r{before}" if before else place

    def add_gateway(self) -> Gateway:
        name = self._name()
        gateway = Gateway(
            name,
            self.world,
            self.network,
            self.ledger,
            self.rules,
            self.core,
            self._terms._replace(gateway=name, workers=self.expectation.workers, expected=self.expectation.gateways),
            self.policy,
            self.tables,
            poll_seconds=self.changes.poll_seconds if self.changes.happen else 0.0,
        )
        self.gateways.append(gateway)
        # Some hear little from clients, or have long calls: then only heartbeats tell that the store has lost them.
        self._weights.append(self.world.random.choice([0.02, 0.1, 1.0]))
        gateway.has_long_calls = not self.keep and self.world.chance(0.3)
        self.world.note("{} starts", name)
        return gateway

    def send_nobody_to(self, gateway: Gateway) -> None:
        self._weights[self.gateways.index(gateway)] = 0.0

    def run(self) -> Summary:
        world = self.world
        processes = world.random.randint(1, 4)
        self.expectation.announce(processes)
        for _ in range(self.expectation.processes or processes):
            self.add_gateway()
        self.faults.plan(self.calm_from)
        self.changes.plan(self.calm_from)
        self._arrive()
        world.run(self.calm_from)
        if not any(gateway.is_alive for gateway in self.gateways):
            self.add_gateway()
        # Calm: traffic goes on, so that somebody notices what was lost.
        heal_seconds = self.lease + self.keep + 1.0 + self.faults.behind
        world.run(self.calm_from + heal_seconds)
        self._check_answers()
        self._check_free()
        self._take_everything()
        answers: dict[str, int] = {}
        for _, asked in self.requests:
            answers[asked.answer or "died"] = answers.get(asked.answer or "died", 0) + 1
        return Summary(
            world.seed, len(self.gateways), self.rules.scripts, self.rules.fenced, self.rules.again, self.ledger.began,
            self.ledger.excused, heal_seconds, self.faults.counts, answers, self.rules.early,
        )  # fmt: skip

    # Traffic.

    def _arrive(self) -> None:
        world, random = self.world, self.world.random
        still = self.calm_from + self.lease + self.keep + self.faults.behind
        if world.now > still:
            return
        # Bursts come in one tick.
        for _ in range(random.choice([1, 1, 1, 2, 6])):
            longest = random.choice([0.02, 0.2, 0.2, self.lease * 0.9, self.lease * 4])
            run_seconds = random.uniform(0, longest)
            if self.keep:
                run_seconds = min(run_seconds, self.keep)  # the function time-out
            patience = random.uniform(0, 0.01) if world.chance(0.05) else 60.0
            self._ask(random.choice(_NAMES), run_seconds, patience)
        world.after(random.expovariate(1 / self._gap), self._arrive)

    def _ask(self, name: str, run_seconds: float, patience: float) -> Asked | None:
        is_calm = self.world.now > self.calm_from
        able = [
            max(weight, is_calm) * gateway.is_alive
            for gateway, weight in zip(self.gateways, self._weights, strict=True)
        ]
        if not any(able):
            return None
        (gateway,) = self.world.random.choices(self.gateways, able)
        # Every other call names the alias, and spills over where its provisioned slot is taken.
        qualifier = "live" if name == CHANGED and (is_calm or len(self.requests) % 2) else None
        asked = Asked(gateway.table.default.plan(name, qualifier), run_seconds, patience, self.world.now)
        self.requests.append((gateway, asked))
        gateway.request(asked)
        return asked

    # What must be so in the end.

    def _check_answers(self) -> None:
        for gateway, asked in self.requests:
            if gateway.is_alive and asked.answer is None and asked.began_at < self.world.now - 5 * self.patience:
                self.world.fail(f"{gateway!r} has not answered a call for {asked.plan.function_counter}")

    def _check_free(self) -> None:
        server = self.network.server
        assert server is not None, "faults are over"
        # Those that are being admitted now are of no interest.
        self.world.run(self.world.now + 0.5)
        sums = self.rules.sums(server)
        if sums or self.ledger.running():
            self.world.fail(f"{self.ledger.running()} calls run, and the store counts {sums}: {self.gateways}")
        for gateway in self.gateways:
            if gateway.is_alive and (gateway.tally.held or not gateway.tally.is_idle):
                self.world.fail(f"nothing runs, and there is {gateway.tally!r}")

    def _check_revisions(self) -> AccountLimits:
        """Everybody has what the store has. Returns the limits."""
        server = self.network.server
        assert server is not None, "faults are over"
        revision, document = self.rules.control(server)
        for gateway in self.gateways:
            if gateway.is_alive and self.changes.happen and gateway.tally.revision != revision:
                self.world.fail(f"the store has revision {revision!r}, and {gateway!r} has {gateway.tally.revision!r}")
        return self.tables.of(revision, document)

    def _take_everything(self) -> None:
        """Exactly the ceilings, and no more, by whichever gateways are asked."""
        limits = self._check_revisions()
        expected: dict[str, int] = {}
        asked: list[tuple[str, Asked | None]] = []
        for name in ("checkout", "thumbnail"):
            expected[name] = limits.ceiling(name)
            asked += [(name, self._ask(name, 0.5, 60.0)) for _ in range(expected[name] + 2)]
        self.world.run(self.world.now + 0.3)
        for name, most in expected.items():
            answers = [one.answer if one else None for of, one in asked if of == name]
            if answers.count("admitted") != most or None in answers:
                self.world.fail(f"of {most + 2} calls for {name}, whose ceiling is {most}: {answers}; {self.gateways}")
        self.world.run(self.world.now + 1.0)
        self._check_free()


def run(seed: int, core: ModuleType = tally, library: Library = _LIBRARY) -> Summary:
    """One seed; raises `Violation`."""
    return Course(seed, core, library).run()
