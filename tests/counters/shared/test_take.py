"""The script of a batch, over a model of the store's commands: takes that are alike are decided together."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from invoke_gateway.counters.shared.messages import Shapes, Take
from invoke_gateway.counters.shared.script import REGISTER, TAKE
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits

from ...simulation.store import Library, Redis

_POOL = ["pool", 3, "account", 5, "", -1]
_PROVISIONED = ["provisioned", 2, "", -1, "account", 5]
# All rates are powers of two, so that sums of tokens are exact however they are added.
SHAPES: list[list[Any]] = [
    [[_POOL], ["requests", 4]],
    [[_PROVISIONED, _POOL], ["requests", 4], [["provisioned", 2], []]],
    [[_POOL], [], [["growth", [0.5, 2, "pool"]]]],
    [[_PROVISIONED, _POOL], [], [["growth", [0.25, 1, "provisioned"]], ["", 1]]],
    [[["", 2, "account", 5]], ["requests", 0.5]],
    [[["", 0, "account", 5]], []],
]
LIBRARY = Library()

GROUPS = st.lists(st.tuples(st.sampled_from("fgh"), st.integers(0, len(SHAPES) - 1), st.integers(1, 7)), max_size=5)
BATCHES = st.lists(st.tuples(GROUPS, st.booleans(), st.sampled_from([0, 125_000, 500_000, 70_000_000])), max_size=6)


class Account:
    """One account on a store of its own, with one gateway."""

    def __init__(self) -> None:
        self.now_us = 1_000_000_000_000
        self.redis = Redis(lambda: self.now_us)
        self.number = 0
        self._run(REGISTER, ("g", 1, 10**9, 0, "run", {}, 1, 0, [], "", ""))
        self.redis.keys["invoke-gateway:{a}:state"]["refill"] = "0"

    def take(self, takes: list[str | int], changes: dict[str, int]) -> list[Any]:
        self.number += 1
        batch = "g", 1, self.number, 10**9, 0, "run", changes, SHAPES, takes, ""
        status, answers, refill_ms = self._run(TAKE, batch)
        assert (status, refill_ms) == (0, 0)
        return list(answers)

    def _run(self, script: Any, request: tuple[Any, ...]) -> Any:
        reply = LIBRARY.run(self.redis, script, "invoke-gateway:{a}", msgspec.msgpack.encode(request))
        return msgspec.msgpack.decode(reply)

    @property
    def state(self) -> dict[str, Any]:
        return {key: value for key, value in self.redis.keys.items() if not key.endswith(":seq")}


def held_by(takes: list[tuple[str, int]], answers: list[Any]) -> Counter[str]:
    held: Counter[str] = Counter()
    for (own, shape), answer in zip(takes, answers, strict=True):
        if isinstance(answer, int):
            held.update(name or own for name in SHAPES[shape][0][answer][::2])
    return held


@given(BATCHES)
@settings(max_examples=300, deadline=None)
def test_takes_that_are_sent_together_are_decided_as_one_after_the_other(batches: list[Any]) -> None:
    together, single = Account(), Account()
    held: Counter[str] = Counter()
    for groups, releases, pause in batches:
        changes = {counter: -slots for counter, slots in held.items()} if releases else {}
        if releases:
            held.clear()
        takes = [(own, shape) for own, shape, count in groups for _ in range(count)]
        answers = together.take([value for group in groups for value in group], changes)
        assert answers == single.take([value for take in takes for value in (*take, 1)], changes)
        assert together.state == single.state
        held += held_by(takes, answers)
        for account in (together, single):
            account.now_us += pause


def test_a_group_is_admitted_as_far_as_there_is_room() -> None:
    account = Account()
    assert account.take(["f", 0, 5], {}) == [0, 0, 0, [0, 0, 3], [0, 0, 3]]  # 3 slots in the pool, 4 tokens
    assert account.take(["f", 0, 3], {"pool": -3, "account": -3, "f": -3}) == [0, [1, 0], [1, 0]]


def test_a_group_spills_over_to_the_next_lane() -> None:
    account = Account()
    assert account.take(["f", 1, 5], {}) == [0, 0, 1, 1, [1, 0]]  # 2 provisioned, 2 of the pool, and the 4 tokens


def test_takes_that_follow_each_other_and_are_alike_are_described_once() -> None:
    account = AccountLimits("a", 10, {"g": FunctionLimits(2)})
    f, g, h = account.plan("f"), account.plan("g"), account.plan("h")
    shapes, described = Shapes().describe([Take(plan) for plan in (f, f, f, g, h, h, f)])
    names = [plan.function_counter for plan in (f, g, h)]
    assert described == [names[0], 0, 3, names[1], 1, 1, names[2], 0, 2, names[0], 0, 1]
    assert len(shapes) == 2
    assert Shapes().describe([]) == ([], [])
