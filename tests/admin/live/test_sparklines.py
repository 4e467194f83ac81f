"""The sparklines are coarse and bounded, and an idle gateway keeps nothing."""

from __future__ import annotations

from invoke_gateway.admin.live.sparklines import (
    MOST_COUNTERS,
    SAMPLES_PER_STEP,
    STEPS,
    STEPS_PER_LONG_STEP,
    Sparklines,
)


class Levels:
    def __init__(self) -> None:
        self.now: dict[str, int] = {}

    def counts(self) -> dict[str, int]:
        return self.now


def sample(sparklines: Sparklines, levels: Levels, *levels_of_a: int) -> None:
    for level in levels_of_a:
        levels.now = {"a": level} if level else {}
        sparklines.sample()


def count(sparklines: Sparklines) -> int:
    return sum(map(len, sparklines._steps)) + sum(map(len, sparklines._long_steps))


def test_a_step_keeps_the_highest_level_that_was_seen_in_it() -> None:
    levels = Levels()
    sparklines = Sparklines(levels)
    sample(sparklines, levels, 1, 7, 2, 0, 3)
    sample(sparklines, levels, *[4] * SAMPLES_PER_STEP)
    assert sparklines.of("a") == [7, 4]
    assert sparklines.of("b") == []


def test_the_oldest_step_falls_out() -> None:
    levels = Levels()
    sparklines = Sparklines(levels)
    sample(sparklines, levels, 9, *[0] * (SAMPLES_PER_STEP - 1))
    sample(sparklines, levels, *[1] * (SAMPLES_PER_STEP * STEPS))
    assert sparklines.of("a") == [1] * STEPS


def test_recent_adds_up_the_last_steps_only() -> None:
    levels = Levels()
    sparklines = Sparklines(levels)
    for level in (5, 1, 2):
        sample(sparklines, levels, *[level] * SAMPLES_PER_STEP)
    assert sparklines.recent(2) == {"a": 3}


def test_an_idle_gateway_remembers_nothing() -> None:
    sparklines = Sparklines(Levels())
    for _ in range(1000):
        sparklines.sample()
    assert count(sparklines) == 0


def test_a_step_has_room_for_the_busiest_only() -> None:
    levels = Levels()
    sparklines = Sparklines(levels)
    levels.now = {f"quiet-{number}": 1 for number in range(MOST_COUNTERS * 2)} | {"busy": 9}
    sparklines.sample()
    assert count(sparklines) == MOST_COUNTERS
    assert sparklines.of("busy") == [9]


def test_who_has_a_place_in_a_full_step_keeps_it_and_is_brought_up_to_date() -> None:
    levels = Levels()
    sparklines = Sparklines(levels)
    levels.now = {f"first-{number}": 1 for number in range(MOST_COUNTERS)}
    sparklines.sample()
    levels.now = {"first-3": 5, **{f"later-{number}": 9 for number in range(MOST_COUNTERS)}}
    sparklines.sample()
    assert sparklines.of("first-3") == [5]
    assert sparklines.of("later-0") == []
    assert count(sparklines) == MOST_COUNTERS


def test_an_hour_has_the_highest_level_of_each_minute_and_of_the_one_that_goes_on() -> None:
    levels = Levels()
    sparklines = Sparklines(levels)
    minute = SAMPLES_PER_STEP * STEPS_PER_LONG_STEP
    sample(sparklines, levels, 9, *[2] * (minute - 1), 3)
    assert sparklines.of_hour("a") == [9, 3]
    sample(sparklines, levels, *[4] * (minute - 1))
    assert sparklines.of_hour("a") == [9, 4]
    assert sparklines.of_hour("b") == []


def test_after_an_hour_the_oldest_minute_falls_out() -> None:
    levels = Levels()
    sparklines = Sparklines(levels)
    minute = SAMPLES_PER_STEP * STEPS_PER_LONG_STEP
    sample(sparklines, levels, *[9] * minute)
    for number in range(1, STEPS + 1):
        sample(sparklines, levels, *[number % 5 + 1] * minute)
        assert len(sparklines.of_hour("a")) == min(number + 1, STEPS)
    assert 9 not in sparklines.of_hour("a")
    assert sparklines.of_hour("a")[-1] == STEPS % 5 + 1
