"""The history behind the sparklines: coarse, bounded, and nothing where nothing happens."""

from __future__ import annotations

from invoke_gateway.admin.live.sparklines import LOOKS_PER_STEP, MOST_COUNTERS, STEPS, History


class Levels:
    def __init__(self) -> None:
        self.now: dict[str, int] = {}

    def held(self) -> dict[str, int]:
        return self.now


def look(history: History, levels: Levels, *levels_of_a: int) -> None:
    for level in levels_of_a:
        levels.now = {"a": level} if level else {}
        history.look()


def test_a_step_keeps_the_highest_level_that_was_seen_in_it() -> None:
    levels = Levels()
    history = History(levels)
    look(history, levels, 1, 7, 2, 0, 3)
    look(history, levels, *[4] * LOOKS_PER_STEP)
    assert history.of("a") == [7, 4]
    assert history.of("b") == [0, 0]


def test_the_oldest_step_falls_out() -> None:
    levels = Levels()
    history = History(levels)
    look(history, levels, 9, *[0] * (LOOKS_PER_STEP - 1))
    look(history, levels, *[1] * (LOOKS_PER_STEP * STEPS))
    assert history.of("a") == [1] * STEPS


def test_recent_adds_up_the_last_steps_only() -> None:
    levels = Levels()
    history = History(levels)
    for level in (5, 1, 2):
        look(history, levels, *[level] * LOOKS_PER_STEP)
    assert history.recent(2) == {"a": 3}


def test_an_idle_gateway_remembers_nothing() -> None:
    history = History(Levels())
    for _ in range(1000):
        history.look()
    assert history.counters() == 0


def test_a_step_has_room_for_the_busiest_only() -> None:
    levels = Levels()
    history = History(levels)
    levels.now = {f"quiet-{number}": 1 for number in range(MOST_COUNTERS * 2)} | {"busy": 9}
    history.look()
    assert history.counters() == MOST_COUNTERS
    assert history.of("busy") == [9]


def test_who_has_a_place_in_a_full_step_keeps_it_and_is_brought_up_to_date() -> None:
    levels = Levels()
    history = History(levels)
    levels.now = {f"first-{number}": 1 for number in range(MOST_COUNTERS)}
    history.look()
    levels.now = {"first-3": 5, **{f"later-{number}": 9 for number in range(MOST_COUNTERS)}}
    history.look()
    assert history.of("first-3") == [5]
    assert history.of("later-0") == [0]
    assert history.counters() == MOST_COUNTERS
