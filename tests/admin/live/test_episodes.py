"""Episodes count refusals exactly, from the totals, and end when it is quiet."""

from __future__ import annotations

from invoke_gateway.admin.live.episodes import MOST_ENDED, MOST_OPEN, QUIET_SAMPLES, Episodes
from invoke_gateway.telemetry.totals import Totals

ACCOUNT = "000000000000"
POOL, RESERVED = "ConcurrentInvocationLimitExceeded", "ReservedFunctionConcurrentInvocationLimitExceeded"


class Case:
    def __init__(self) -> None:
        self.time = 1000.0
        self.totals = Totals()
        self.episodes = Episodes(self.totals, now=lambda: self.time)

    def throttle(self, label: str, times: int = 1, reason: str = POOL) -> None:
        throttles = self.totals.of(ACCOUNT, label).throttles
        throttles[reason] = throttles.get(reason, 0) + times

    def wait(self, samples: int = 1) -> None:
        for _ in range(samples):
            self.time += 1
            self.episodes.sample()


def test_refusals_of_one_function_and_reason_are_one_episode_with_their_exact_number() -> None:
    case = Case()
    for times in (3, 0, 6):
        case.throttle("search", times)
        case.wait()
    (episode,) = case.episodes.going_on()
    assert (episode.account, episode.label, episode.reason, episode.count) == (ACCOUNT, "search", POOL, 9)
    assert (episode.first_at, episode.last_at) == (1000.0, 1003.0)
    assert episode.per_second == 3.0
    assert repr(episode) == f"<Episode search {POOL} 9>"


def test_the_rate_is_that_of_the_last_seconds() -> None:
    case = Case()
    case.throttle("search", 500)
    case.wait()
    for _ in range(QUIET_SAMPLES):
        case.throttle("search", 2)
        case.wait()
    (episode,) = case.episodes.going_on()
    assert (episode.per_second, episode.count) == (2.0, 500 + 2 * QUIET_SAMPLES)


def test_an_episode_ends_after_quiet_and_the_next_refusal_begins_another() -> None:
    case = Case()
    case.throttle("search", 4)
    case.wait(QUIET_SAMPLES)
    assert [episode.is_over for episode in case.episodes.going_on()] == [False]
    case.wait()
    assert case.episodes.going_on() == []
    case.throttle("search", 1)
    case.wait()
    assert [(episode.count, episode.is_over) for episode in case.episodes.newest_first()] == [(1, False), (4, True)]


def test_the_most_refused_come_first_and_reasons_are_kept_apart() -> None:
    case = Case()
    case.throttle("search", 2)
    case.throttle("search", 9, RESERVED)
    case.throttle("orders", 5)
    case.wait()
    found = [(episode.label, episode.reason, episode.count) for episode in case.episodes.going_on()]
    assert found == [("search", RESERVED, 9), ("orders", POOL, 5), ("search", POOL, 2)]


def test_errors_that_are_no_throttles_are_episodes_too() -> None:
    case = Case()
    case.totals.refusals["RequestTooLargeException"] = 2
    case.totals.injected_faults[ACCOUNT, "search", "ServiceException"] = 3
    for not_a_refusal in ("latency", "cut", "TooManyRequestsException"):
        case.totals.injected_faults[ACCOUNT, "search", not_a_refusal] = 7
    case.wait()
    found = {
        (episode.label, episode.reason, episode.is_injected, episode.count) for episode in case.episodes.going_on()
    }
    assert found == {(None, "RequestTooLargeException", False, 2), ("search", "ServiceException", True, 3)}


def test_a_flood_of_functions_is_bounded_and_the_rest_is_counted() -> None:
    case = Case()
    for number in range(MOST_OPEN + 50):
        case.throttle(f"f{number}", 1 + (number == 7))
    case.wait()
    assert len(case.episodes.going_on()) == MOST_OPEN
    assert case.episodes.going_on()[0].label == "f7"
    assert case.episodes.left_out == 50
    case.wait(QUIET_SAMPLES)
    assert len(case.episodes.newest_first()) == MOST_ENDED


def test_totals_that_shrink_at_the_end_of_a_worker_make_no_episode() -> None:
    case = Case()
    case.throttle("search", 10)
    case.wait(QUIET_SAMPLES + 1)
    case.totals.of(ACCOUNT, "search").throttles[POOL] = 6
    case.wait()
    assert case.episodes.going_on() == []
    case.throttle("search")
    case.wait()
    assert [episode.count for episode in case.episodes.going_on()] == [1]
