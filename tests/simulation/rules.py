"""What is promised, held against the ledger whenever a script has run or a call begins.

The promise. At no moment do more calls run than a ceiling allows, over all gateways. Excused are, and only:

- a call of a gateway that the store has not understood for a whole lease (killed, stopped, cut off; with `keep`, for
  that much longer), by the store's clock. A server that begins (empty, restarted, a replica that took over) gives
  everybody a lease from the first word that it hears, and so does one that nobody has reached for a lease;
- a call of a gateway that was told to stop, or whose slots somebody released by hand;
- where `expected` gateways were announced, a call of a gateway of which none that reported was ever told: one that died
  before the others saw it, or one beyond that number. As long as no more run than were announced, one that lives is
  always waited for;
- a call that was admitted without the store, as `share` and `open` say. It counts nevertheless once the store knows it.

Where control operations change a limit: a call is admitted only by the limits of the revision that the store has at
that moment. A change replaces the one that it was made from. Revisions of a store only rise, and what a gateway brought
to a store that recovers is not lost.

An excused call counts in the store as soon as its gateway has registered again: so nothing is admitted beside it that
would not fit. And always: sums are the sums of the copies, nothing is negative, each gateway's copy and what it has not
told yet are what it holds, rates give no token twice, and a refusal takes none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from invoke_gateway.counters.shared.script import CONTROL, FORGET, REGISTER, RENEW, TAKE, Script, control_key
from invoke_gateway.policy.control.state import ControlDocument
from invoke_gateway.policy.limits import AccountLimits

from .changes import Tables
from .ledger import Call, Ledger
from .network import Network, Server
from .world import World

if TYPE_CHECKING:
    from .gateway import Gateway

_decode = msgspec.msgpack.decode
_OK, FENCED = 0, 1


class Rules:
    def __init__(self, world: World, network: Network, ledger: Ledger, lease_ms: int, keep_ms: int) -> None:
        self.world = world
        self.network = network
        self.ledger = ledger
        self._lease_ms = lease_ms
        self._keep_ms = keep_ms
        self._tokens: dict[tuple[Server, int, str], tuple[float | None, float]] = {}
        self.scripts = 0
        self.fenced = 0
        self.again = 0
        self._epochs: dict[tuple[Server, int, str], int] = {}
        self.early = 0
        self._told: dict[str, set[str]] = {}
        self._recovers_until: dict[tuple[Server, int], float] = {}
        self._unknown: dict[tuple[Server, int], set[str]] = {}
        self.is_alive: Callable[[str], bool]
        self.may_exceed = False
        self.tables: Tables
        self.patience = 0.25
        self._control: dict[tuple[Server, int], ControlDocument] = {}
        self._brought: dict[tuple[Server, int], set[str]] = {}
        self._in_force: list[tuple[float, AccountLimits]] = []
        network.watch = self.after_script

    # The store.

    def after_script(self, server: Server, gateway: str, script: Script, argument: bytes, reply: bytes) -> None:
        self.scripts += 1
        said = _decode(reply)
        status = said[0]
        self._check_control(server, script, _decode(argument), said)
        if script is CONTROL:
            self.world.note("store {}: control of {}: {} {}", server, gateway, _decode(argument), said)
            return
        if server.now_ms - server.heard_any_ms >= self._lease_ms + self._keep_ms:
            for other in server.heard:
                server.heard[other] = server.now_ms
        server.heard_any_ms = server.now_ms
        if script is REGISTER and status != FENCED:
            self._see_lapse(server, gateway, _decode(argument)[5])
        if script is FORGET:
            self.ledger.excuse(gateway, "released")
            server.heard.pop(gateway, None)
        elif status == FENCED:
            self.fenced += 1
        else:
            server.heard[gateway] = server.now_ms
        asked = _decode(argument)
        if script is not RENEW or status == FENCED:
            where = f"{asked[1]}:{asked[2]}" if script is TAKE else ""
            self.world.note("store {}: {} {} of {}: {}", server, script.name, where, gateway, said)
        self.check_sums(server)
        self._see_early_end(server)
        leases = server.redis.hash(f"{self.network.key}:leases")
        for known in [known for known in self._epochs if known[0] is server and known[2] not in leases]:
            del self._epochs[known]
        if script in (TAKE, REGISTER) and status != FENCED:
            self._check_epoch(server, gateway, asked[1])
        if script is TAKE and status == _OK:
            self._check_answers(server, gateway, asked, said[1])

    def copies(self, server: Server) -> dict[str, dict[str, str]]:
        start = f"{self.network.key}:of:"
        return {key[len(start) :]: value for key, value in server.redis.keys.items() if key.startswith(start)}

    def sums(self, server: Server) -> dict[str, int]:
        return {counter: int(slots) for counter, slots in server.redis.hash(f"{self.network.key}:sums").items()}

    def check_sums(self, server: Server) -> None:
        sums = self.sums(server)
        total: Counter[str] = Counter()
        leases = server.redis.hash(f"{self.network.key}:leases")
        for gateway, copy in self.copies(server).items():
            if gateway not in leases:
                self.world.fail(f"{gateway} has slots in the store and no lease: {copy}")
            for counter, slots in copy.items():
                total[counter] += int(slots)
                if int(slots) <= 0:
                    self.world.fail(f"the store counts {slots} slots of {counter} for {gateway}")
        if sums != total:
            self.world.fail(f"sums are {sums}, the copies together {dict(total)}")

    def _check_epoch(self, server: Server, gateway: str, epoch: int) -> None:
        """What belongs to an epoch that is over is void wherever it was, unless the store has forgotten the gateway."""
        last = self._epochs.get((server, server.lives, gateway), 0)
        if epoch < last:
            self.world.fail(f"the store does what {gateway} said in epoch {epoch}, after it began epoch {last}")
        self._epochs[server, server.lives, gateway] = epoch

    def note_told(self, gateway: str, others: list[str], *, is_recovering: bool) -> None:
        """A gateway was told which others there are; while the store recovers, some may be missing."""
        before = self._told.get(gateway, set()) if is_recovering else set()
        self._told[gateway] = before | set(others)

    def _see_early_end(self, server: Server) -> None:
        """A recovery ended before its time: what is then missing may be missing only of gateways that nobody knew."""
        state = server.redis.hash(f"{self.network.key}:state")
        until = float(state.get("refill", 0.0))
        place = (server, server.lives)
        before = self._recovers_until.get(place, 0.0)
        self._recovers_until[place] = until
        if until >= before:
            return
        self.early += 1
        reported = set(server.redis.hash(f"{self.network.key}:leases"))
        known = reported.union(*(self._told.get(gateway, ()) for gateway in reported))
        self.world.note("the recovery of {} ends early, with {}", server, sorted(reported))
        unknown = self._unknown[place] = set()
        for gateway in list(self.ledger.calls):
            if gateway not in known and (self.may_exceed or not self.is_alive(gateway)):
                unknown.add(gateway)
                self.ledger.excuse(gateway, "unknown")

    @staticmethod
    def control(server: Server) -> ControlDocument:
        """What a store has of the control state."""
        return ControlDocument(**server.redis.hash(control_key("a")))

    def _check_control(self, server: Server, script: Script, asked: Any, said: Any) -> None:
        place = (server, server.lives)
        now = self.control(server)
        before = self._control.get(place)
        if now != before:
            self._control[place] = now
            self._in_force.append((self.world.now, self.tables.of(*now)))
            if before is None:
                self._brought[place] = {now.revision}
            elif now.number <= before.number:
                self.world.fail(f"revision {before.revision!r} of the store became {now.revision!r}")
            elif script is CONTROL and not asked[5] and asked[2] != before.revision:
                self.world.fail(f"a change of {asked[2]!r} replaced {before.revision!r}")
        if script is REGISTER and said[0] == _OK and said[2] > 0:
            self._brought[place].add(asked[9])

    def _check_revision(self, server: Server) -> None:
        """While the store admits, it has the newest revision that a gateway brought it during its recovery."""
        now = self.control(server)
        brought = self._brought[server, server.lives]
        newest = max(ControlDocument(revision).number for revision in brought)
        found = {revision for revision in brought if ControlDocument(revision).number == newest}
        if now.number < newest or (now.number == newest and len(found) == 1 and now.revision not in found):
            self.world.fail(f"the store admits by revision {now.revision!r}, and a gateway brought it {found}")

    def _check_lane(self, server: Server, own: str, lane: list[Any]) -> None:
        """A lane is taken only by the limits that the store has."""
        table = self.tables.of(*self.control(server))
        name = own.rpartition("/")[2]
        plans = (table.plan(name), table.plan(name, "live"))
        allowed = [[(claim.counter, -1 if claim.ceiling is None else claim.ceiling) for claim in lane.claims]
                   for plan in plans for lane in plan.lanes]  # fmt: skip
        if list(zip(lane[::2], lane[1::2], strict=True)) not in allowed:
            self.world.fail(f"admitted {own} by {lane}, and the store has {self.control(server)}")

    def _most(self, counter: str, own: str, ceiling: int) -> int:
        """The highest ceiling of a counter since a call that begins now may have been admitted."""
        since = self.world.now - 1.1 * self.patience - 0.01
        tables = [table for at, table in self._in_force if at >= since]
        tables += [table for at, table in self._in_force if at < since][-1:]
        name = own.rpartition("/")[2]
        found = [
            claim.ceiling
            for table in tables
            for qualifier in (None, "live")
            for lane in table.plan(name, qualifier).lanes
            for claim in lane.claims
            if (claim.counter or own) == counter and claim.ceiling is not None
        ]
        return max(ceiling, *found)

    @staticmethod
    def is_grant(script: Script, reply: bytes) -> bool:
        said = _decode(reply)
        return script is TAKE and said[0] == _OK and any(isinstance(answer, int) for answer in said[1])

    def _check_answers(self, server: Server, gateway: str, asked: Any, answers: Any) -> None:
        _, epoch, number, _, _, _, _, shapes, takes, _ = asked
        if server.applied.get(gateway) == (epoch, number):
            self.again += 1
            return  # the reply was given again
        server.applied[gateway] = (epoch, number)
        given: dict[str, int] = {}
        groups = zip(takes[::3], takes[1::3], takes[2::3], strict=True)
        single = [(own, shape) for own, shape, count in groups for _ in range(count)]
        for (own, shape), answer in zip(single, answers, strict=True):
            lanes, rates, *of_lanes = shapes[shape]
            self._check_rates(server, own, rates, answer)
            if isinstance(answer, int):
                lane = lanes[answer]
                self._check_lane(server, own, lane)
                if of_lanes:
                    self._check_rates(server, own, of_lanes[0][answer], answer)
                given |= {(name or own): ceiling for name, ceiling in zip(lane[::2], lane[1::2], strict=True)}
            elif answer[0] == 0 and answer[2] < lanes[-1][answer[1] * 2 + 1]:
                self.world.fail(f"refused {own} with {answer}, and there was room")
        if given:
            self._check_covered(server)
            self._check_revision(server)
        sums = self.sums(server)
        for counter, ceiling in given.items():
            if 0 <= ceiling < sums.get(counter, 0):
                self.world.fail(f"admitted to {counter}, which is now {sums[counter]} of {ceiling}")

    def _check_rates(self, server: Server, own: str, rates: list[Any], answer: Any) -> None:
        for index, (name, per_second) in enumerate(zip(rates[::2], rates[1::2], strict=True)):
            key = (server, server.lives, name or own)
            at = server.clock_us() / 1e6
            level, since = self._tokens.get(key, (None, at))
            burst = max(1.0, per_second)
            left = None if level is None else max(0.0, level - (at - since) * per_second)
            if isinstance(answer, int):
                if left is not None and left + 1 > burst + 1e-6:
                    self.world.fail(f"a token of {name or own} too many: {left + 1:.3f} of {burst}")
                self._tokens[key] = ((left or 0.0) + 1, at)
            elif answer == [1, index] and not server.has_past and (left or 0.0) + 1 < burst - 1e-3:
                self.world.fail(f"no token of {name or own}, and {left or 0.0:.3f} of {burst} were used")

    def _check_covered(self, server: Server) -> None:
        """Whoever runs something that the store does not count while it admits must have been silent for a lease."""
        copies = self.copies(server)
        leases = server.redis.hash(f"{self.network.key}:leases")
        for gateway, running in self.ledger.counted_of.items():
            copy = copies.get(gateway, {})
            if any(slots > int(copy.get(counter, 0)) for counter, slots in running.items()):
                silent = self._silent_ms(server, gateway)
                if not self._has_lapsed(server, gateway):
                    known = "with a lease" if gateway in leases else "without a lease"
                    self.world.fail(
                        f"the store admits, and {gateway} ({known}), understood {silent:.0f} ms ago, runs"
                        f" {dict(+running)}; counted are {copy}"
                    )
                self.world.note("excused: {} was silent for {:.0f} ms", gateway, silent)
                self.ledger.excuse(gateway, "silent")

    def _see_lapse(self, server: Server, gateway: str, held: dict[str, int]) -> None:
        """A registration comes after a lease of silence, perhaps late and from a gateway that is dead: what it does not
        bring was given back when the lease ended, whether or not a call was admitted since."""
        running = self.ledger.counted_of[gateway]
        if self._has_lapsed(server, gateway) and any(slots > held.get(name, 0) for name, slots in running.items()):
            self.world.note("excused: {} registers after {:.0f} ms", gateway, self._silent_ms(server, gateway))
            self.ledger.excuse(gateway, "silent")

    def _silent_ms(self, server: Server, gateway: str) -> float:
        return server.now_ms - server.heard.get(gateway, server.begun_ms or 0.0)

    def _has_lapsed(self, server: Server, gateway: str) -> bool:
        # A server that begins cannot know of more than a lease; else slots are kept, where that was asked for.
        bound = self._lease_ms + (self._keep_ms if gateway in server.heard else 0)
        return self._silent_ms(server, gateway) >= bound - 1

    # The gateways.

    def begin(
        self, call: Call, granted_by: tuple[Server, int, int] | None, standing: tuple[Server, int, int] | None
    ) -> None:
        """A call begins that `granted_by` admitted, at a time when the store stands so."""
        is_old = granted_by is not None and standing is not None and granted_by[:2] != standing[:2]
        if is_old and call.gateway in self._unknown.get(standing[:2], ()):
            call.excused = "unknown"
        excess = self.ledger.begin(call)
        if excess is not None and excess.running > self._most(excess.counter, call.own, excess.ceiling):
            self.world.fail(f"{excess.running} calls run on {excess.counter}, whose ceiling is {excess.ceiling}")
        if granted_by is None or granted_by != standing:
            return  # admitted without the store, or the store has begun anew since
        copy = self.copies(granted_by[0]).get(call.gateway, {})
        for counter, slots in self.ledger.counted_of[call.gateway].items():
            if slots > int(copy.get(counter, 0)):
                self.world.fail(
                    f"{call.gateway} begins call {call.number} and runs {slots} of {counter}; the store counts {copy}"
                )

    def after_reply(self, gateway: Gateway) -> None:
        """Copy and changes not yet told are what is held, when nothing is under way."""
        tally, server = gateway.tally, self.network.server
        if gateway.holds != tally.held:
            self.world.fail(f"{gateway.name} has slots {dict(gateway.holds)}, its tally {dict(tally.held)}")
        if server is None or tally.acknowledged is None or tally._under_way is not None or tally._is_awaited:
            return
        at = server.redis.hash(f"{self.network.key}:seq").get(gateway.name)
        if at != "{}:{}".format(*tally.acknowledged):
            return
        copy = {counter: int(slots) for counter, slots in self.copies(server).get(gateway.name, {}).items()}
        both = Counter(copy)
        for counter, slots in tally.changes.items():
            both[counter] += slots
        if {counter: slots for counter, slots in both.items() if slots} != dict(tally.held):
            self.world.fail(f"{tally!r} and the store counts {copy}")
