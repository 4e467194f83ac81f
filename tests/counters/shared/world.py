"""Several gateways, a network and a store, for the tests of what may go wrong between them.

The tallies are real, and so are the scripts, on a real server. Time is ours: a lease is 100 seconds long, and time
passes by moving the ends of all leases to an earlier moment.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from invoke_gateway.counters.shared.messages import (
    OK,
    Refused,
    RequestIdentity,
    Take,
    encode_control,
    encode_forget,
    read_control_reply,
    read_renewal,
)
from invoke_gateway.counters.shared.script import ALL, CONTROL, FORGET, RENEW, Script, base_key
from invoke_gateway.counters.shared.tally import Holding, Tally
from invoke_gateway.policy.control.state import ControlDocument
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits

from ...support.stores import Store

LEASE_MS = 100_000
PATIENCE_SECONDS = 1.0
CONCURRENT, RESERVED = 4, 2


def make_table(reserved: int = RESERVED, revision: str = "") -> Limits:
    return Limits(AccountLimits("a", CONCURRENT, {"reserved": FunctionLimits(reserved)}, control_revision=revision))


PLANS = {name: make_table().default.plan(name) for name in ("reserved", "plain")}
BASE = base_key("a")


def names_of(function: str) -> list[str]:
    plan = PLANS[function]
    return [claim.counter or plan.function_counter for claim in plan.lanes[0].claims]


class Run(str):
    """The function of a call that truly runs, and its holding."""

    holding: Holding


class Gateway:
    """One process: its tally, its limits, what travels, and the calls that truly run."""

    latest = 0

    def __init__(self, now: float) -> None:
        Gateway.latest += 1
        self.id = f"g-{Gateway.latest}"
        self.tally = Tally("a", RequestIdentity(self.id, LEASE_MS, 0, PATIENCE_SECONDS))
        self.table = make_table()
        self.request: tuple[Script, bytes] | None = None
        self.reply: bytes | None = None
        self.waiting: list[Take] = []
        self.running: list[Run] = []
        self.is_paused = False
        self.heard_at = now

    def adopt(self, stored: ControlDocument) -> None:
        """Puts the limits of a document in force, and keeps it for a store that loses it."""
        self.tally.kept = stored
        if stored.revision != self.tally.revision:
            before, self.table = self.table, make_table(int(stored.document or RESERVED), stored.revision)
            self.table.supersede(before)
            self.tally.set_revision(stored.revision)

    def held(self) -> Counter[str]:
        return Counter(name for function in self.running for name in names_of(function))


class World:
    """Three gateways that share the counters of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.client = self.store.client()
        self.raw = self.client.__class__(
            unix_socket_path=self.client.connection_pool.connection_kwargs["path"], protocol=2
        )
        self.store.clear()
        for script in ALL:
            self.client.script_load(script.source)
        self.now = 0.0
        self.run = "run-0"
        self.runs = self.changes = 0
        self.client.hset(f"{BASE}:state", mapping={"run": self.run, "refill": 0})
        self.gateways = [Gateway(0.0) for _ in range(3)]
        self.ghosts: list[tuple[Script, bytes]] = []
        self.snapshot: tuple[dict[str, bytes], float] | None = None
        for gateway in self.gateways:
            self.talk(gateway)

    def close(self) -> None:
        self.client.close()
        self.raw.close()

    @property
    def awake(self) -> list[Gateway]:
        return [gateway for gateway in self.gateways if not gateway.is_paused]

    # The network.

    def send(self, gateway: Gateway) -> None:
        if gateway.request is None and gateway.reply is None:
            gateway.request = gateway.tally.next_request(self.run, self.now)

    def apply(self, gateway: Gateway) -> None:
        """The request arrives, and the store has answered."""
        if gateway.request is not None:
            gateway.reply = self.execute(*gateway.request)
            if msgspec.msgpack.decode(gateway.reply)[0] != 1:
                gateway.heard_at = self.now
            gateway.request = None

    def execute(self, script: Script, argument: bytes) -> bytes:
        before = Counter({name: int(slots) for name, slots in self.client.hgetall(f"{BASE}:sums").items()})
        reply: bytes = self.raw.evalsha(script.sha, 1, BASE, argument)
        status, answers, *_ = (*msgspec.msgpack.decode(reply), None, None)
        if script.name == "take" and status == 0 and any(isinstance(answer, int) for answer in answers):
            self.nobody_is_forgotten_when_a_call_is_admitted(before)
        return reply

    def deliver(self, gateway: Gateway) -> None:
        if gateway.reply is None:
            return
        reply, gateway.reply = gateway.reply, None
        for take, answer in gateway.tally.apply_reply(reply, self.now):
            gateway.waiting.remove(take)
            if isinstance(answer, Holding):
                run = Run(take.plan.function_counter.rpartition("/")[2])
                run.holding = answer
                gateway.running.append(run)
            else:
                assert answer is None or isinstance(answer, Refused)

    def talk(self, gateway: Gateway) -> None:
        """Whatever there is to say, without any trouble."""
        for _ in range(10):
            self.send(gateway)
            self.apply(gateway)
            self.deliver(gateway)
            if gateway.tally.is_idle:
                break

    def beat(self, gateway: Gateway) -> None:
        renewal = gateway.tally.make_renewal(self.run, "limits")
        if renewal is not None:
            epoch, argument = renewal
            renewed = read_renewal(self.execute(RENEW, argument))
            if renewed.status == 0:
                gateway.heard_at = self.now
            gateway.tally.apply_renewal(epoch, renewed, self.now)

    # What may happen.

    def ask(self, gateway: Gateway, *functions: str) -> None:
        for function in functions:
            take = Take(gateway.table.default.plan(function))
            gateway.waiting.append(take)
            gateway.tally.enqueue(take)

    def end_call(self, gateway: Gateway, index: int = 0) -> None:
        gateway.tally.release(gateway.running.pop(index).holding)

    def lose(self, gateway: Gateway, *, is_late: bool = False) -> None:
        """A request is lost, or its reply; or the request is only late."""
        if gateway.request is not None and is_late:
            self.ghosts.append(gateway.request)
        gateway.request = gateway.reply = None
        gateway.tally.mark_lost()

    def stored_limits(self) -> ControlDocument:
        stored: dict[str, str] = self.client.hgetall(f"{BASE}:control")
        return ControlDocument(stored.get("revision", ""), stored.get("document", ""))

    def change_limit(self, gateway: Gateway, reserved: int) -> None:
        """PutFunctionConcurrency at one gateway. Where another one was first, its limits are adopted instead."""
        known = gateway.tally.kept
        self.changes += 1
        following = ControlDocument(f"{known.number + 1}:w{self.changes}", str(reserved))
        self.exchange_control(gateway, known.revision, following, is_copy=False)

    def follow_limits(self, gateway: Gateway) -> None:
        """Reads what others have changed, or writes back what the store has lost."""
        stored, known = self.stored_limits(), gateway.tally.kept
        if stored.number < known.number:
            self.exchange_control(gateway, "", known, is_copy=True)
        else:
            gateway.adopt(stored)
        gateway.tally.confirm(gateway.tally.kept.revision)

    def exchange_control(self, gateway: Gateway, known: str, following: ControlDocument, *, is_copy: bool) -> None:
        argument = encode_control(self.run, LEASE_MS, known, *following, is_copy=is_copy)
        reply = read_control_reply(self.raw.evalsha(CONTROL.sha, 1, BASE, argument))
        if reply.status == OK:
            gateway.adopt(following)
        elif not reply.refill_ms or is_copy:
            gateway.adopt(ControlDocument(reply.revision, reply.document))

    def live(self, quarters: int) -> None:
        """Quarters of a lease, with the heartbeats of those that are awake."""
        for _ in range(quarters):
            self.pass_time(LEASE_MS / 4)
            for gateway in self.awake:
                if gateway.tally.acknowledged is None:
                    self.talk(gateway)
                else:
                    self.beat(gateway)

    def pass_time(self, ms: float) -> None:
        self.now += ms / 1000
        for gateway, end in self.client.zrange(f"{BASE}:leases", 0, -1, withscores=True):
            self.client.zadd(f"{BASE}:leases", {gateway: end - ms})
        refill = self.client.hget(f"{BASE}:state", "refill")
        if refill is not None:
            self.client.hset(f"{BASE}:state", "refill", float(refill) - ms)

    def kill(self, index: int) -> None:
        dead = self.gateways[index]
        if dead.request is not None:
            self.ghosts.append(dead.request)
        self.gateways[index] = Gateway(self.now)

    def give_back_by_force(self, index: int) -> None:
        """And by mistake: the gateway lives. What it runs is not counted until it is heard again."""
        gateway = self.gateways[index]
        self.raw.evalsha(FORGET.sha, 1, BASE, encode_forget(gateway.id))
        gateway.heard_at = float("-inf")

    def restart_the_store_empty(self, _: int) -> None:
        self.client.flushdb()
        self.replace_the_server()

    def copy_to_a_replica(self, _: int) -> None:
        self.snapshot = {key: self.raw.dump(key) for key in self.client.keys("*")}, self.now

    def fail_over(self, _: int) -> None:
        """A replica takes over that lacks the newest batches."""
        if self.snapshot is None:
            return
        copied, at = self.snapshot
        self.client.flushdb()
        for key, value in copied.items():
            self.client.restore(key, 0, value)
        now, self.now = self.now, at
        self.pass_time((now - at) * 1000)
        self.now = now
        self.replace_the_server()

    def replace_the_server(self) -> None:
        self.runs += 1
        self.run = f"run-{self.runs}"
        for gateway in self.gateways:
            if gateway.request is not None or gateway.reply is not None:
                gateway.request = gateway.reply = None
                gateway.tally.mark_lost()
        self.ghosts.clear()  # they were under way to the server that is gone

    def nobody_is_forgotten_when_a_call_is_admitted(self, before: Counter[str]) -> None:
        """Of every gateway that was heard within a lease, the store counts at least what runs."""
        sums = Counter({name: int(slots) for name, slots in self.client.hgetall(f"{BASE}:sums").items()})
        runs: Counter[str] = Counter()
        for gateway in self.gateways:
            if self.now - gateway.heard_at < LEASE_MS / 1000:
                copied = self.client.hgetall(f"{BASE}:of:{gateway.id}")
                for name, slots in gateway.held().items():
                    assert int(copied.get(name, 0)) >= slots, f"{gateway.tally} {copied}"
                    runs[name] += slots
        for name, ceiling in self.ceilings().items():
            assert runs[name] <= sums[name]
            assert sums[name] <= ceiling or sums[name] <= before[name], f"{name}: {sums[name]} of {ceiling}"

    def ceilings(self) -> dict[str, int]:
        """The ceilings of the store's own revision: takes by any other are STALE."""
        reserved = int(self.stored_limits().document or RESERVED)
        return {"a/account": CONCURRENT, "a/unreserved": CONCURRENT - reserved, "a/function/reserved": reserved}

    def everything_comes_right_in_the_end(self) -> None:
        for gateway in self.gateways:
            gateway.is_paused = False
        for _ in range(3):
            for gateway in self.gateways:
                self.follow_limits(gateway)
                self.talk(gateway)
            self.live(5)  # whoever is dead is pruned, and a refill is over
            for gateway in self.gateways:
                self.talk(gateway)
        held: Counter[str] = Counter()
        for gateway in self.gateways:
            assert not gateway.waiting, f"somebody still waits: {gateway.tally}"
            held.update(gateway.held())
        assert self.store.sums("a") == held
        assert {gateway.tally.revision for gateway in self.gateways} == {self.stored_limits().revision}
