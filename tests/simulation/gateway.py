"""A gateway: a real tally, driven as counters/shard.py and lease.py drive it, in a process that may be
stopped, be too busy, or die at any moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

from invoke_gateway.counters.shared.messages import (
    OK,
    encode_control,
    encode_forget,
    read_control_reply,
    read_renewal,
)
from invoke_gateway.counters.shared.script import CONTROL, FORGET, RENEW, Script
from invoke_gateway.policy.concurrency import Lane, Plan, renew_plan
from invoke_gateway.policy.control.state import ControlDocument

from .changes import Tables
from .ledger import Call, Ledger
from .network import Connection, Network, Reply, Server, Trouble
from .rules import FENCED, Rules
from .world import World

Steps = Generator["Wait", Any, Any]

_BEATS = 4


class Wait:
    """Something that steps wait for; the first to resolve it decides."""

    __slots__ = ("is_done", "resume", "until")

    def __init__(self, until: float | None = None) -> None:
        self.is_done = False
        self.until = until
        self.resume: Callable[[Any], None] | None = None

    def resolve(self, value: Any = None) -> None:
        if not self.is_done:
            self.is_done = True
            assert self.resume is not None
            self.resume(value)


class Asked:
    """A request in its gateway. `answer` is None until there is one."""

    __slots__ = ("answer", "began_at", "patience", "plan", "run_seconds", "take")

    def __init__(self, plan: Plan, run_seconds: float, patience: float, began_at: float) -> None:
        self.plan = plan
        self.run_seconds = run_seconds
        self.patience = patience
        self.began_at = began_at
        self.answer: str | None = None
        self.take: Any = None


class Gateway:
    """`core` is the module of the tally, or a broken copy of it."""

    def __init__(
        self,
        name: str,
        world: World,
        network: Network,
        ledger: Ledger,
        rules: Rules,
        core: Any,
        terms: Any,
        policy: str,
        tables: Tables,
        *,
        poll_seconds: float,
    ) -> None:
        self.name = name
        self.holds: Counter[str] = Counter()
        self.is_alive = True
        self.is_leaving = False
        self.asked: dict[Asked, None] = {}
        self.why_away: str | None = "not asked yet"
        self._world, self._network, self._ledger, self._rules = world, network, ledger, rules
        self._core = core
        self._policy = policy
        self._lease = terms.lease_ms / 1000
        self._patience = terms.patience_seconds
        self._clock_from = world.random.uniform(0, 1e6)
        self._clock_rate = world.random.uniform(0.998, 1.002)
        self.tally = core.Tally("a", terms)
        self._of_take: dict[Any, Asked] = {}
        self._granted_by: tuple[Server, int, int] | None = None
        self._link: Connection | None = None
        self._run = ""
        self._beat_link: Connection | None = None
        self._beat_run = ""
        self._must_ask = True
        self._is_rung = True
        self._bell: Wait | None = None
        self._hurry: Wait | None = None
        self.stopped_until = 0.0
        self.busy_until = 0.0
        self.forgotten = 0
        self.has_long_calls = False
        self.before_script: Callable[[], None] | None = None
        self.when_granted: Callable[[], None] | None = None
        self.table = tables.make(ControlDocument())
        self._tables = tables
        self._control_link: Connection | None = None
        self._control_run = ""
        self._watch: Wait | None = None
        self._wanted: list[tuple[str, str]] = []
        self._poll_seconds = poll_seconds
        if poll_seconds:
            self._go(self._keep_watching(), is_thread=False)
        self._go(self._keep_talking(), is_thread=False)
        self._go(self._keep_renewing(), is_thread=True)

    def clock(self) -> float:
        return self._clock_from + self._world.now * self._clock_rate

    # What happens to the process.

    def stop_for(self, seconds: float) -> None:
        self.stopped_until = max(self.stopped_until, self._world.now + seconds)

    def be_busy_for(self, seconds: float) -> None:
        """The event loop does not come to anything else; the thread of the lease does."""
        self.busy_until = max(self.busy_until, self._world.now + seconds)

    def kill(self) -> None:
        """Its calls run on in the backend. What the kernel has already been given goes out."""
        self.is_alive = False
        for link in (self._link, self._beat_link):
            if link is not None:
                link.close()

    def do(self, step: Callable[..., None], *arguments: Any, is_thread: bool = False) -> None:
        """Run a step of the process as soon as it runs at all."""
        if not self.is_alive:
            return
        held_up = self.stopped_until if is_thread else max(self.stopped_until, self.busy_until)
        if held_up > self._world.now:
            self._world.at(held_up, lambda: self.do(step, *arguments, is_thread=is_thread))
        else:
            step(*arguments)

    def _go(self, steps: Steps, is_thread: bool) -> None:
        def advance(value: Any, wait: Wait | None) -> None:
            # After a stop the reply and the time-out are both there; whichever comes first is not decided.
            if wait is not None and wait.until is not None and self._world.now > wait.until and self._world.chance(0.5):
                value = Trouble.TIMEOUT
            try:
                following = steps.send(value)
            except StopIteration:
                return
            following.resume = lambda got: self.do(advance, got, following, is_thread=is_thread)

        self._world.after(0, lambda: self.do(advance, None, None, is_thread=is_thread))

    def _sleep(self, seconds: float) -> Wait:
        wait = Wait()
        self._world.after(seconds, wait.resolve)
        return wait

    def _reply(self, ask: Callable[[Callable[[Reply], None]], None], deadline: float) -> Wait:
        wait = Wait(deadline)
        self._world.after(0, ask, wait.resolve)
        self._world.at(deadline, wait.resolve, Trouble.TIMEOUT)
        return wait

    # What the chain asks.

    def request(self, asked: Asked) -> None:
        self.asked[asked] = None
        self.do(self._take, asked)
        self._world.after(asked.patience, self.do, self._hang_up, asked)

    def _take(self, asked: Asked) -> None:
        if asked.answer is not None:
            return  # hung up before it was looked at
        plan = asked.plan
        asked.began_at = self._world.now
        if self._find_lane(plan, lambda ceiling: ceiling) is None:
            self._answer(asked, "full here")
        elif self.why_away is not None or self.is_leaving or self.tally.recovers_until > self.clock():
            self._acquire_locally(asked)
        else:
            asked.take = self._core.Take(plan)
            self._of_take[asked.take] = asked
            self.tally.enqueue(asked.take)
            self._ring()

    def _hang_up(self, asked: Asked) -> None:
        if asked.answer is None:
            if asked.take is not None:
                asked.take.abandon()
                self._of_take.pop(asked.take, None)
            self._answer(asked, "hung up")

    def _find_lane(self, plan: Plan, part: Callable[[int], int]) -> Lane | None:
        for lane in plan.lanes:
            if all(
                claim.ceiling is None or self.holds[claim.counter or plan.function_counter] < part(claim.ceiling)
                for claim in lane.claims
            ):
                return lane
        return None

    def _acquire_locally(self, asked: Asked) -> None:
        if self._policy == "closed" or self.is_leaving:
            self._answer(asked, "away")
            return
        part = self.tally.share_of if self._policy == "share" else lambda ceiling: ceiling
        asked.plan = renew_plan(asked.plan)
        lane = self._find_lane(asked.plan, part)
        if lane is None:
            self._answer(asked, "full alone")
            return
        call = self._make_call(asked, lane)
        self.tally.admit_locally(self._holding_of(call))
        call.excused = "admitted alone"
        self._ring()
        self._begin(asked, call, None)

    def _answer(self, asked: Asked, answer: str) -> None:
        assert asked.answer is None, "answered twice"
        asked.answer = answer
        self.asked.pop(asked, None)

    def _make_call(self, asked: Asked, lane: Lane) -> Call:
        return Call(self._ledger.began, self.name, asked.plan, lane)

    def _holding_of(self, call: Call) -> Any:
        return self.tally.holding_of(call.lane, call.own)

    def _begin(self, asked: Asked, call: Call, granted_by: tuple[Server, int, int] | None) -> None:
        standing = self._standing()
        if (
            granted_by is not None
            and standing is not None
            and granted_by != standing
            and granted_by[:2] == standing[:2]
        ):
            call.excused = "released by hand"
        self.holds.update(call.counters)
        self._answer(asked, "admitted")
        self._world.note("{} begins call {} on {}{}", self.name, call.number, asked.plan.function_counter, call.excused)
        self._rules.begin(call, granted_by, standing)
        # However late it begins, nothing runs at the end of the calm.
        left = max(0.05, self._network.calm_from + 0.5 - self._world.now)
        seconds = 3 * self._lease if self.has_long_calls else asked.run_seconds
        self._world.after(min(seconds, left), self._end, call)

    def _standing(self) -> tuple[Server, int, int] | None:
        server = self._network.server
        return None if server is None else (server, server.lives, self.forgotten)

    def _end(self, call: Call) -> None:
        self._ledger.end(call)
        self.do(self._give_back, call)

    def _give_back(self, call: Call) -> None:
        self.holds.subtract(call.counters)
        self.holds = +self.holds
        self.tally.release(self._holding_of(call))
        self._world.note("{} ends call {}", self.name, call.number)
        self._ring()

    # Talking to the store.

    def _ring(self) -> None:
        self._is_rung = True
        if self._bell is not None:
            bell, self._bell = self._bell, None
            self._world.after(0, bell.resolve)

    def _keep_talking(self) -> Steps:
        pause = least = min(0.02, self._lease / 100)
        while True:
            if not self._is_rung:
                self._bell = Wait()
                yield self._bell
            self._is_rung = False
            if self.is_leaving:
                break
            trouble = yield from self._exchange()
            if trouble is None:
                self.why_away = None
                pause = least
                continue
            self._record_failure(trouble)
            yield self._sleep(pause)
            pause = min(pause * 2, self._lease / 16)

    def _exchange(self) -> Generator[Wait, Any, Trouble | None]:
        deadline = self._world.now + self._patience
        if self._link is not None and self._link.is_open:
            trouble = yield from self._exchange_once(self._link, deadline)
            if trouble is not Trouble.BROKEN:
                return trouble
        self._link = self._network.connect(self.name)
        run = yield self._reply(self._link.open, deadline)
        if isinstance(run, Trouble):
            self._link.close()
            return run
        self._run = run
        return (yield from self._exchange_once(self._link, deadline))

    def _exchange_once(self, link: Connection, deadline: float) -> Generator[Wait, Any, Trouble | None]:
        tally = self.tally
        request = tally.next_request(self._run, self.clock())
        if request is None and not self._must_ask:
            return None
        reply = yield self._reply(lambda then: link.ask(self._work(request), then), deadline)
        if isinstance(reply, Trouble):
            self._world.note("{} gets no reply: {}", self.name, reply.value)
            link.close()
            if request is not None:
                tally.mark_lost()
            return reply
        self._must_ask = False
        if request is not None:
            self._apply_reply(*reply)
        return None

    def _work(self, request: tuple[Script, bytes] | None) -> Callable[[Server], Any]:
        def work(server: Server) -> Any:
            if request is None:
                return b"PONG", None
            if self.before_script is not None:
                self.before_script()
            reply = self._network.run_script(server, self.name, *request)
            if self.when_granted is not None and self._rules.is_grant(request[0], reply):
                then, self.when_granted, self.before_script = self.when_granted, None, None
                if self._world.now < self._network.calm_from:
                    then()
            return reply, (server, server.lives, self.forgotten)

        return work

    def _apply_reply(self, reply: bytes, granted_by: tuple[Server, int, int]) -> None:
        was = self.tally.acknowledged
        for take, answer in self.tally.apply_reply(reply, self.clock()):
            asked = self._of_take.pop(take)
            asked.plan = take.plan
            if answer is None:
                self._acquire_locally(asked)
            elif isinstance(answer, self._core.Holding):
                self._begin(asked, self._make_call(asked, answer.lane), granted_by)
            else:
                self._answer(asked, f"full: {answer.claim.limit}")
        if was is None and self.tally.acknowledged is not None and self._hurry is not None:
            self._world.after(0, self._hurry.resolve)
        if not self.tally.is_idle:
            self._ring()
        if self.tally.is_stale:
            self._wake_watch()
        self._rules.after_reply(self)

    def _record_failure(self, trouble: Trouble) -> None:
        self.why_away = trouble.value
        for take in self.tally.cancel_pending():
            self._acquire_locally(self._of_take.pop(take))
        self._must_ask = True
        self._ring()

    # The control state, as control/shared_store.py keeps it.

    def change_limit(self, document: str, writer: str) -> None:
        self._wanted.append((document, writer))
        self.do(self._wake_watch)

    def _wake_watch(self) -> None:
        if self._watch is not None:
            watch, self._watch = self._watch, None
            self._world.after(0, watch.resolve)

    def _keep_watching(self) -> Steps:
        while not self.is_leaving:
            yield from self._watch_once()
            if not self._wanted:
                self._watch = self._sleep(self._poll_seconds)
                yield self._watch

    def _watch_once(self) -> Generator[Wait, Any, None]:
        deadline = self._world.now + self._patience
        link = self._control_link
        if link is None or not link.is_open:
            link = self._control_link = self._network.connect(self.name)
            run = yield self._reply(link.open, deadline)
            if isinstance(run, Trouble):
                link.close()
                self._wanted.clear()
                return
            self._control_run = run
        kept = self.tally.kept
        if self._wanted:
            document, writer = self._wanted.pop()
            following = ControlDocument(f"{kept.number + 1}:{writer}", document)
            yield from self._send_control(link, deadline, kept.revision, following, is_copy=False)
            return
        stored = yield self._reply(lambda then: link.ask(self._rules.control, then), deadline)
        if isinstance(stored, Trouble):
            link.close()
        elif stored.number < kept.number:
            yield from self._send_control(link, deadline, "", kept, is_copy=True)
        else:
            self._adopt(stored)

    def _send_control(
        self, link: Connection, deadline: float, known: str, following: ControlDocument, *, is_copy: bool
    ) -> Generator[Wait, Any, None]:
        argument = encode_control(self._control_run, int(self._lease * 1000), known, *following, is_copy=is_copy)
        reply = yield self._reply(lambda then: link.ask(self._work((CONTROL, argument)), then), deadline)
        if isinstance(reply, Trouble):
            link.close()
            return
        status, _, revision, document = read_control_reply(reply[0])
        self._adopt(following if status == OK else ControlDocument(revision, document))

    def _adopt(self, stored: ControlDocument) -> None:
        tally = self.tally
        tally.kept = stored
        if stored.revision != tally.revision:
            made = self._tables.make(stored)
            made.supersede(self.table)
            self.table = made
            tally.set_revision(stored.revision)
        tally.confirm(stored.revision)
        self._ring()

    # The lease.

    def _keep_renewing(self) -> Steps:
        while not self.is_leaving:
            is_heard = yield from self._renew()
            pause = self._lease / _BEATS
            pause = pause if is_heard else pause / _BEATS
            if self.tally.may_end_recovery:
                pause = min(pause, self._lease / _BEATS**3)
            self._hurry = self._sleep(pause)
            yield self._hurry

    def _renew(self) -> Generator[Wait, Any, bool]:
        deadline = self._world.now + self._patience
        if self._beat_link is None or not self._beat_link.is_open:
            self._beat_link = self._network.connect(self.name)
            run = yield self._reply(self._beat_link.open, deadline)
            if isinstance(run, Trouble):
                return self._hear_silence()
            self._beat_run = run
        renewal = self.tally.make_renewal(self._beat_run, "the same")
        if renewal is None:
            return True
        epoch, argument = renewal
        link = self._beat_link
        reply = yield self._reply(lambda then: link.ask(self._work((RENEW, argument)), then), deadline)
        if isinstance(reply, Trouble):
            return self._hear_silence()
        self._world.after(0, self.do, self._note_renewal, epoch, read_renewal(reply[0]))
        return True

    def _hear_silence(self) -> bool:
        assert self._beat_link is not None
        self._beat_link.close()
        self._world.after(0, self.do, self._note_silence)
        return False

    def _note_silence(self) -> None:
        self._must_ask = True
        self._ring()

    def _note_renewal(self, epoch: int, renewed: Any) -> None:
        self.tally.apply_renewal(epoch, renewed, self.clock())
        if renewed.status != FENCED and epoch == self.tally.epoch:
            self._rules.note_told(self.name, renewed.gateways, is_recovering=renewed.refill_ms > 0)
        if renewed.status == FENCED and epoch == self.tally.epoch and self.tally.acknowledged is not None:
            self._world.fail(f"{self.name} was told that the store does not know it, and goes on")
        if self.tally.acknowledged is None:
            self._ring()

    # The end.

    def leave(self) -> None:
        """SIGTERM, when its patience with running calls is over: what it holds is given back at once."""
        self.is_leaving = True
        for asked in list(self.asked):
            self._hang_up(asked)
        if self._link is not None and self._link.is_open and self.why_away is None:
            self._link.ask(self._work((FORGET, encode_forget(self.name))), lambda reply: None)
        self.is_alive = False

    def __repr__(self) -> str:
        return f"<Gateway {self.name} {self.tally!r}>"
