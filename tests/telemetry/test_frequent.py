"""The most frequent keys are found among any number of them, in bounded memory."""

from __future__ import annotations

import random

import pytest

from invoke_gateway.telemetry import frequent
from invoke_gateway.telemetry.frequent import MOST_KEYS, Frequent


def test_counts_are_exact_up_to_the_bound_and_begin_again() -> None:
    counted: Frequent[str] = Frequent()
    for name in ["search"] * 3 + ["report"] * 2 + [f"f{number}" for number in range(MOST_KEYS - 10)]:
        counted.add(name)
    assert counted.take(2) == [("search", 3), ("report", 2)]
    assert counted.take(2) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_flood_of_invented_names_displaces_no_frequent_one(seed: int) -> None:
    rng = random.Random(seed)
    counted: Frequent[str] = Frequent()
    frequent_names = {"search": 0, "report": 0, "mail": 0}
    for number in range(50_000):
        name = rng.choices([*frequent_names, f"invented-{number}"], [10, 5, 3, 82])[0]
        counted.add(name)
        assert len(counted._counts) < MOST_KEYS
        if name in frequent_names:
            frequent_names[name] += 1
    assert counted.take(3) == sorted(frequent_names.items(), key=lambda item: -item[1])


def test_a_name_costs_a_look_into_a_table_and_seldom_more(monkeypatch: pytest.MonkeyPatch) -> None:
    sorted_times = 0
    nlargest = frequent.nlargest

    def count(*arguments: object, **more: object) -> object:
        nonlocal sorted_times
        sorted_times += 1
        return nlargest(*arguments, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(frequent, "nlargest", count)
    counted: Frequent[int] = Frequent()
    for number in range(100_000):
        counted.add(number)
    assert sorted_times <= 2 * 100_000 / MOST_KEYS
