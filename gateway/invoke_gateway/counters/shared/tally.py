"""Holds what one gateway process has of one account, and makes its requests: no clock, no sockets, no event loop.

The theory. The truth is in the process: a slot is held from the moment its grant was taken until it is released. The
store has a copy for each gateway and their sums, and decides over the sums. Four rules keep copy and truth together:

- One batch is under way at a time, and batches have numbers. The store applies number n + 1 after n and nothing else;
  for n itself it returns its reply again. So a batch whose reply was lost is sent again as it was, and takes effect
  once.
- The store replies FENCED to what it cannot place (a number that does not follow, an unknown epoch or gateway), and
  applies nothing. Nothing more is taken until `register` has been answered, which begins an epoch and makes the copy
  exactly what is held now. A later epoch voids all requests of earlier ones, wherever they still travel. So what was
  in doubt no longer is, and the absolute counts contain what had not been sent yet.
- A grant counts only while the lease certainly lived: its reply must be back within the time bound after the request
  was sent, which is less than the lease. A process that was stopped in between returns the slot.
- A grant for which no request waits any more is returned with the next batch.

While a store recovers, a gateway reports three more things: how many gateways are expected, which ones it knew, and the
round of the recovery of which it was told last. The store ends the recovery early by them (scripts/renew.lua).

Limits may change at any time by control operations. The store has the revision of what they have set, and replies STALE
to takes that were planned by another one. They wait until `set_revision` brings that revision, and are planned again. A
registration brings the document itself, for a store that has lost it.

So for each counter, when no batch is under way: copy + changes not yet sent = slots held.
tests/counters/shared/test_tally.py has that as a property.

This file is longer than 300 lines: the theory holds only while one object has the counts and the batches.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import msgspec

from ...policy.concurrency import Lane, Plan, renew_plan
from ...policy.control.state import ControlDocument
from ...store.script import Script
from .messages import (
    FENCED,
    LANE_RATE,
    OK,
    RATE,
    REFILLING,
    STALE,
    Refused,
    Renewed,
    RequestIdentity,
    Shapes,
    Take,
)
from .script import REGISTER, TAKE

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode

# Takes in one batch. A script blocks the store; so many take about a millisecond.
MOST_TAKES = 500

# Holdings without a slot that are kept for the next call of their function.
_MOST_IDLE = 1000


class Holding:
    """Counts the slots that one function holds by one lane. So a call costs two additions, whatever the lane claims.

    counters: those of the lane
    held: slots that are held now
    owed: changes of `held` that are in no batch yet, and slots to return that were not used
    """

    __slots__ = ("counters", "held", "lane", "owed", "tally")

    def __init__(self, tally: Tally, lane: Lane, function_counter: str) -> None:
        self.tally = tally
        self.lane = lane  # kept, so that no other lane gets its id
        self.counters = [claim.counter or function_counter for claim in lane.claims]
        self.held = 0
        self.owed = 0

    def __repr__(self) -> str:
        return f"<Holding {self.held} of {self.counters}, owes {self.owed}>"


class _Batch:
    """Holds one request until its reply has been applied. (A named tuple is made by a function of Python.)"""

    __slots__ = ("changes", "number", "revision", "takes")

    def __init__(self, number: int, changes: dict[str, int], takes: list[Take], revision: str) -> None:
        self.number = number
        self.changes = changes
        self.takes = takes
        self.revision = revision


class Tally:
    """Serves one account. Call `next_request` when something may be due, then `apply_reply`, or `mark_lost`."""

    def __init__(self, account: str, identity: RequestIdentity) -> None:
        self.account = account
        self.epoch = 0
        self.acknowledged: tuple[int, int] | None = None
        """Holds epoch and number of the last batch whose reply is here; None while the gateway is not registered. It is
        one attribute, so that another thread reads both of one moment."""
        self.recovers_until = 0.0
        self.gateways = 1
        self.rank = 0
        self.round = 0
        """Holds the number that the store gave to the recovery's last registration; the next renewal returns it."""
        self._known: set[str] = set()
        self.revision = ""
        """Holds the revision of the control state whose limits are in force here."""
        self.is_stale = False
        """Is True while the store has another revision: no take is sent."""
        self.kept = ControlDocument()
        """Holds the newest control state that this process has read or written."""
        self._identity = identity
        self._number = 0
        self._holdings: dict[tuple[int, str], Holding] = {}
        self._most_holdings = _MOST_IDLE
        self._owing: dict[Holding, None] = {}
        self._shapes = Shapes()
        self._queue: deque[Take] = deque()
        self.enqueue = self._queue.append  # a method of our own would be one more call for each take
        self._under_way: _Batch | None = None
        self._is_registering = False
        self._is_awaited = False
        self._sent_at = 0.0

    # Limits.

    def set_revision(self, revision: str) -> None:
        """Records the revision of the limits in force. Takes by other limits are planned again."""
        if revision != self.revision:
            self.revision = revision
            self.is_stale = False

    def confirm(self, revision: str) -> None:
        """Records that the store has this revision now."""
        if revision == self.revision:
            self.is_stale = False

    # Calls of this process.

    def holding_of(self, lane: Lane, function_counter: str) -> Holding:
        key = id(lane), function_counter
        return self._holdings.get(key) or self._add_holding(lane, function_counter, key)

    def release(self, holding: Holding) -> None:
        """Returns a slot."""
        holding.held -= 1
        holding.owed -= 1
        self._owing[holding] = None

    def admit_locally(self, holding: Holding) -> None:
        """Takes a slot without the store, to which it is reported later."""
        holding.held += 1
        holding.owed += 1
        self._owing[holding] = None

    @property
    def held(self) -> Counter[str]:
        """Returns each counter of which slots are held, with their number."""
        held: Counter[str] = Counter()
        for holding in self._holdings.values():
            if holding.held:
                for counter in holding.counters:
                    held[counter] += holding.held
        return held

    @property
    def changes(self) -> dict[str, int]:
        """Returns the changes of each counter that are in no batch yet."""
        changes: dict[str, int] = {}
        for holding in self._owing:
            for counter in holding.counters:
                changes[counter] = changes.get(counter, 0) + holding.owed
        if 0 in changes.values():
            return {counter: slots for counter, slots in changes.items() if slots}
        return changes

    def share_of(self, ceiling: int) -> int:
        """Returns this gateway's share of a ceiling. The shares of all gateways add up to exactly the ceiling."""
        each, over = divmod(ceiling, self.gateways)
        return each + (self.rank < over)

    # Requests and replies.

    @property
    def is_idle(self) -> bool:
        """Returns True where nothing is due."""
        if self.acknowledged is None or self._under_way or self._owing:
            return False
        return not self._queue or self.is_stale

    def next_request(self, run: str, now: float) -> tuple[Script, bytes] | None:
        """Returns the script and its argument; None where nothing is due.

        run: identifies the server process. now: monotonic seconds.
        """
        if self._is_awaited:
            return None
        self._sent_at = now
        if self.acknowledged is None:
            request = self._make_register(run)
        elif (batch := self._under_way or self._make_batch()) is not None:
            self._under_way = batch
            request = TAKE, self._encode_batch(batch, run)
        else:
            return None
        self._is_awaited = True
        return request

    def apply_reply(self, reply: bytes, now: float) -> list[tuple[Take, Answer]]:
        """Applies the reply to the last request. Returns the answers to takes for which a request waits. The takes of a
        batch that was fenced are sent again."""
        status, answers, refill_ms = _decode(reply)
        self._is_awaited = False
        self.recovers_until = now + refill_ms / 1000 if refill_ms else 0.0
        if self._is_registering:
            self._is_registering = False
            if status == OK:
                self.round = answers[0] if answers else 0
                self.acknowledged = (self.epoch, 0)
            return []
        batch = self._under_way
        assert batch is not None, "a reply without a request"
        if status == FENCED:
            self._void()
            return []
        self._under_way = None
        if self.acknowledged is not None:  # else fenced meanwhile: register reports it again
            self.acknowledged = (self.epoch, batch.number)
        if status == STALE:
            self.is_stale = batch.revision == self.revision
            self._queue.extendleft(reversed(batch.takes))
            return []
        is_late = now - self._sent_at >= self._identity.patience_seconds
        if status == REFILLING:
            answers = [None] * len(batch.takes)
        return self._settle(batch.takes, answers, is_late)

    def mark_lost(self) -> None:
        """Records that the reply was lost: the request is sent again as it was, or in the next epoch."""
        self._is_awaited = False
        self._is_registering = False

    def cancel_pending(self) -> list[Take]:
        """Returns the pending takes and forgets them: the caller answers them. Should the store grant one later, its
        slot is returned."""
        batch = self._under_way
        waiting = [take for take in (*(batch.takes if batch else ()), *self._queue) if take.is_waiting]
        for take in waiting:
            take.abandon()
        self._queue.clear()
        return waiting

    @property
    def may_end_recovery(self) -> bool:
        """Returns True while the next renewal may end the store's recovery. Another thread may read it."""
        return self.round > 0 and self._identity.expected > 0

    def fence(self, epoch: int) -> None:
        """Records that the store does not know this epoch: register before anything else."""
        if epoch == self.epoch:
            self.acknowledged = None

    # The lease.

    def make_renewal(self, run: str, limits: str) -> tuple[int, bytes] | None:
        """Returns the epoch and the argument of `renew`; None without a lease. Another thread may call it."""
        acknowledged = self.acknowledged
        if acknowledged is None:
            return None
        identity = self._identity
        leases = identity.lease_ms, identity.keep_ms
        return acknowledged[0], _encode((identity.gateway, *acknowledged, *leases, run, limits, self.round))

    def apply_renewal(self, epoch: int, renewed: Renewed, now: float) -> None:
        """Applies the reply to a renewal. now: monotonic seconds."""
        if renewed.status == FENCED:
            self.fence(epoch)
            return
        self.gateways, self.rank = max(1, len(renewed.gateways)), renewed.rank
        if epoch != self.epoch:
            return
        self.recovers_until = now + renewed.refill_ms / 1000 if renewed.refill_ms else 0.0
        self.round = renewed.round
        if renewed.refill_ms:  # gateways that the store lost may still have to report
            self._known.update(renewed.gateways)
        else:
            self._known = set(renewed.gateways)

    # Internals.

    def _add_holding(self, lane: Lane, function_counter: str, key: tuple[int, str]) -> Holding:
        if len(self._holdings) >= self._most_holdings:
            self._holdings = {kept: one for kept, one in self._holdings.items() if one.held or one.owed}
            self._most_holdings = _MOST_IDLE + 2 * len(self._holdings)
        holding = self._holdings[key] = Holding(self, lane, function_counter)
        return holding

    def _forget_changes(self) -> None:
        for holding in self._owing:
            holding.owed = 0
        self._owing = {}

    def _make_register(self, run: str) -> tuple[Script, bytes]:
        self._void()
        self._forget_changes()
        self.epoch += 1
        self._number = 0
        self._is_registering = True
        gateway, lease_ms, keep_ms, _, workers, expected = self._identity
        recovery = workers, expected, sorted(self._known)
        return REGISTER, _encode((gateway, self.epoch, lease_ms, keep_ms, run, self.held, *recovery, *self.kept))

    def _void(self) -> None:
        """Voids the batch under way, which the store will never apply. Its pending takes are sent again."""
        self.acknowledged = None
        batch, self._under_way = self._under_way, None
        if batch is not None:
            self._queue.extendleft(reversed(batch.takes))

    def _make_batch(self) -> _Batch | None:
        takes = self._dequeue() if self._queue and not self.is_stale else []
        for take in takes:
            table = take.plan.table
            if table is not None and table.successor is not None:
                take.plan = self._renew(take.plan)
        changes = self.changes
        self._forget_changes()
        if not takes and not changes:
            return None
        self._number += 1
        return _Batch(self._number, changes, takes, self.revision)

    def _dequeue(self) -> list[Take]:
        """Takes what still waits out of the queue, as much as one batch may have."""
        queue = self._queue
        if len(queue) <= MOST_TAKES:
            takes = [take for take in queue if take.is_waiting]
            queue.clear()
            return takes
        takes = []
        while queue and len(takes) < MOST_TAKES:
            take = queue.popleft()
            if take.is_waiting:
                takes.append(take)
        return takes

    def _renew(self, plan: Plan) -> Plan:
        renewed = renew_plan(plan)
        return renewed if renewed.account == self.account else plan  # the settings may not name it any more

    def _encode_batch(self, batch: _Batch, run: str) -> bytes:
        shapes, takes = self._shapes.describe(batch.takes)
        gateway, lease_ms, keep_ms, *_ = self._identity
        return _encode(
            (gateway, self.epoch, batch.number, lease_ms, keep_ms, run, batch.changes, shapes, takes, batch.revision)
        )

    def _settle(self, takes: list[Take], answers: list[Any], is_late: bool) -> list[tuple[Take, Answer]]:
        """Counts what was granted. Returns the answers to takes for which a request waits."""
        settled: list[tuple[Take, Answer]] = []
        for take, raw in zip(takes, answers, strict=True):
            plan = take.plan
            answer: Answer = None
            if isinstance(raw, int):
                lane, function_counter = plan.lanes[raw], plan.function_counter
                key = id(lane), function_counter
                holding = self._holdings.get(key) or self._add_holding(lane, function_counter, key)
                if take.is_waiting and not is_late:
                    holding.held += 1
                    answer = holding
                else:
                    holding.owed -= 1
                    self._owing[holding] = None
            elif raw is not None:
                answer = _read_refusal(plan, raw)
            if take.is_waiting:
                take.is_waiting = False
                settled.append((take, answer))
        return settled

    def __repr__(self) -> str:
        position = "not registered" if self.acknowledged is None else "{}:{}".format(*self.acknowledged)
        told = "in doubt or under way" if self._under_way else "all told"
        holds, owes = dict(self.held), self.changes
        return (
            f"<Tally {self._identity.gateway} {self.account} {position} holds {holds} owes {owes} "
            f"{len(self._queue)} waiting, {told}>"
        )


Answer = Holding | Refused | None
"""Is what was taken, a refusal, or None where the store decided nothing."""


def _read_refusal(plan: Plan, raw: list[int]) -> Refused:
    if raw[0] == RATE:
        return Refused(plan.rates[raw[1]], 0)
    if raw[0] == LANE_RATE:
        return Refused(plan.lanes[-1].rates[raw[1]], 0)
    return Refused(plan.lanes[-1].claims[raw[1]], raw[2])
