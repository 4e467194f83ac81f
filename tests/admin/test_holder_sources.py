"""Giving back what a dead gateway holds: which processes are meant, and when it is refused."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from invoke_gateway.admin.holder_sources import LocalHolders, SharedHolders
from invoke_gateway.admin.in_flight import InFlightQuery, NotReleased, merge
from invoke_gateway.counters.holders import NoAnswer, Report
from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.exchange import Exchange
from invoke_gateway.policy.concurrency import LimitReached
from invoke_gateway.policy.limits import AccountLimits


class Store:
    """Knows `reports`; notes what is to be forgotten. `heard` answer that they live after all."""

    def __init__(self, *reports: Report, heard: str = "") -> None:
        self.reports = reports
        self.heard = heard
        self.forgotten: list[tuple[str, str]] = []
        self.force: bool | None = None
        self.is_away = False

    async def report(self, accounts: Iterable[str], function: str | None) -> list[Report]:
        if self.is_away:
            raise NoAnswer("check that it runs")
        return [report for report in self.reports if report.account in accounts]

    async def release_gateway(self, dead: Iterable[tuple[str, str]], *, force: bool) -> list[int | None]:
        self.force = force
        self.forgotten = list(dead)
        return [None if gateway == self.heard else 5 for gateway, _ in self.forgotten]


def dead(gateway: str, account: str = "a", slots: int = 7) -> Report:
    return Report(gateway, account, slots, [], None, 3.0, False)


def alive(gateway: str, account: str = "a") -> Report:
    return Report(gateway, account, 1, [], 0.5, 9.0, True)


def reports_on(store: Store, counters: MemoryCounters | None = None) -> SharedHolders:
    return SharedHolders(
        counters or MemoryCounters(),
        store,
        gateway="g-me",
        accounts=lambda: ["a", "b"],
        find_account=lambda account: account if account in ("a", "b") else "a",
    )


async def test_a_gateways_name_means_its_workers_too_and_no_other_gateway() -> None:
    store = Store(dead("g-1.1"), dead("g-1.2r1", "b"), dead("g-11"), dead("g-2.1"), alive("g-me"))
    released = await reports_on(store).release("g-1", None, force=False)
    assert store.forgotten == [("g-1.1", "a"), ("g-1.2r1", "b")]
    assert [(report.gateway, report.account, report.slots) for report in released] == [
        ("g-1.1", "a", 5),
        ("g-1.2r1", "b", 5),
    ], "what was really given back, and not what was seen before"


async def test_the_beginning_of_a_name_is_enough_where_one_gateway_has_it() -> None:
    store = Store(dead("g-7f3a2b1c.1"), dead("g-7f3a2b1c.2"), dead("g-7fff0000"), alive("g-me"))
    await reports_on(store).release("g-7f3a", None, force=False)
    assert store.forgotten == [("g-7f3a2b1c.1", "a"), ("g-7f3a2b1c.2", "a")]
    with pytest.raises(NotReleased, match="is the beginning of several names: g-7f3a2b1c, g-7fff0000"):
        await reports_on(store).release("g-7f", None, force=False)
    with pytest.raises(NotReleased, match="No gateway 'g-7' holds slots"):
        await reports_on(store).release("g-7", None, force=False)


async def test_a_workers_name_means_that_worker_alone() -> None:
    store = Store(dead("g-1.2"), dead("g-1.2r1"), alive("g-1.1"))
    await reports_on(store).release("g-1.2", None, force=False)
    assert store.forgotten == [("g-1.2", "a")]


async def test_it_can_be_of_one_account_alone() -> None:
    store = Store(dead("g-1"), dead("g-1", "b"))
    await reports_on(store).release("g-1", "b", force=False)
    assert store.forgotten == [("g-1", "b")]


async def test_who_lives_is_refused_and_nothing_is_given_back() -> None:
    store = Store(alive("g-1.1"), dead("g-1.2"))
    with pytest.raises(NotReleased, match=r"^g-1\.1 is alive: .* Dead: g-1\.2; .* --force") as refused:
        await reports_on(store).release("g-1", None, force=False)
    assert refused.value.status == 409
    assert store.forgotten == []


async def test_with_force_also_who_lives() -> None:
    store = Store(alive("g-1"))
    (released,) = await reports_on(store).release("g-1", None, force=True)
    assert (store.forgotten, store.force, released.is_alive) == ([("g-1", "a")], True, True)


async def test_an_unknown_gateway_is_told_which_there_are() -> None:
    store = Store(alive("g-me"), alive("g-me", "b"), dead("g-2"))
    with pytest.raises(NotReleased, match=r"No gateway 'g-3' .* Known gateways: g-2, g-me\.") as refused:
        await reports_on(store).release("g-3", None, force=True)
    assert refused.value.status == 404
    many = Store(*(alive(f"g-{number:02}") for number in range(25)))
    with pytest.raises(NotReleased, match=r"g-18, g-19 and 5 more\."):
        await reports_on(many).release("g-3", None, force=False)


async def test_who_was_heard_between_look_and_deed_keeps_its_slots() -> None:
    with pytest.raises(NotReleased, match=r"^g-1\.1 has just renewed its lease") as refused:
        await reports_on(Store(dead("g-1.1"), dead("g-1.2"), heard="g-1.1")).release("g-1", None, force=False)
    assert refused.value.status == 409


async def test_without_the_store_nothing_is_given_back_and_only_ones_own_calls_are_known() -> None:
    store, counters = Store(dead("g-1")), MemoryCounters()
    slot = await counters.acquire(AccountLimits("a", 5).plan("f"))
    assert not isinstance(slot, LimitReached)
    slot.holder = Exchange(0.0)
    store.is_away = True
    with pytest.raises(NotReleased, match="check that it runs") as refused:
        await reports_on(store).release("g-1", None, force=False)
    assert refused.value.status == 503
    known, trouble = await reports_on(store, counters).report(InFlightQuery())
    assert [(row["gateway"], row["function"]) for row in merge(known, 9)["holders"]] == [("g-me", "f")]
    assert trouble is not None
    assert "check that it runs" in trouble


async def test_what_this_gateway_holds_is_taken_from_its_slots_and_not_from_its_list_in_the_store() -> None:
    """Which is older, and names calls that have ended."""
    row = {"account": "a", "function": "f", "request_id": "ended", "caller": None, "slots": 1, "age_seconds": 1.0}
    store = Store(Report("g-me", "a", 1, [row], 2.0, 9.0))
    known, trouble = await reports_on(store).report(InFlightQuery())
    assert (merge(known, 9)["holders"], trouble) == ([], None)


async def test_counters_in_memory_have_nothing_of_a_dead_gateway() -> None:
    with pytest.raises(NotReleased, match="counts in its own memory") as refused:
        await LocalHolders(MemoryCounters(), find_account=str).release("g-1", None, force=True)
    assert refused.value.status == 409
