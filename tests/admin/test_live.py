"""The live page's document and its stream: which rows, once for all who ask, bounded whatever the watchers do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from invoke_gateway.admin.live.document import (
    MOST_ROWS,
    BadLiveQuery,
    LiveQuery,
    LiveView,
    find_configured,
    read_live_query,
)
from invoke_gateway.admin.live.page import load_page
from invoke_gateway.admin.live.sparklines import Sparklines
from invoke_gateway.admin.live.stream import BEAT_SECONDS, LiveResponse, LiveStream, Topic
from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from invoke_gateway.telemetry.last_refusals import LastRefusals
from invoke_gateway.telemetry.totals import Totals
from tests.support.gateways import eventually
from tests.support.lateness import judge
from tests.support.sockets import Gateway, Wire, calls_under_way, gateway, invoke

REASON = "ConcurrentInvocationLimitExceeded"
FEW = {name: FunctionLimits() for name in ("alpha", "beta", "gamma", "delta")}


class Shared:
    """Says what all gateways hold."""

    def __init__(self, **slots: int) -> None:
        self.sums: dict[str, int] = {f"000000000000/{counter}": number for counter, number in slots.items()}
        self.age: float | None = 0.4
        self.reads = 0

    def describe(self) -> dict[str, object]:
        return {"gateway": "g-7f3a2b1c", "gateways": 3, "sums_age_seconds": self.age, "trouble": None}

    async def read_sums(self) -> None:
        self.reads += 1
        if self.reads == 1:
            raise ValueError("what it said makes no sense")


class Case:
    """A view of counters that a test fills."""

    def __init__(
        self, *named: AccountLimits, labelled: int = 1000, shared: Shared | None = None, **functions: FunctionLimits
    ) -> None:
        self.account = AccountLimits("000000000000", 20, functions or FEW, labelled=labelled)
        self.limits = Limits(self.account, {each.account: each for each in named})
        self.counters = MemoryCounters()
        self.totals = Totals()
        self.snapshots = 0
        self.view = LiveView(
            limits=self._limits_now,
            levels=self.counters,
            totals=self.totals,
            sparklines=Sparklines(self.counters),
            holds=dict,
            refusals=LastRefusals(self.counters, holds=dict),
            is_draining=lambda: False,
            shared=shared,
        )

    def _limits_now(self) -> Limits:
        self.snapshots += 1
        return self.limits

    async def run(self, *functions: str) -> None:
        for function in functions:
            await self.counters.acquire(self.account.plan(function))

    def throttle(self, label: str, count: int) -> None:
        self.totals.of("000000000000", label).throttles[REASON] = count

    async def ask(self, query: LiveQuery = LiveQuery()) -> Any:  # noqa: B008  # it is immutable
        snapshot = self.view.take_snapshot()
        return self.view.describe(query, snapshot, await find_configured(self.limits, query))

    async def rows(self, query: LiveQuery = LiveQuery()) -> list[str]:  # noqa: B008  # it is immutable
        return [row["function"] for row in (await self.ask(query))["functions"]]


async def test_the_busiest_come_first_then_the_most_throttled_then_the_rest() -> None:
    case = Case()
    case.throttle("beta", 2)
    case.throttle("delta", 9)
    await case.run("gamma", "unknown", "unknown")
    assert await case.rows() == ["unknown", "gamma", "delta", "beta", "alpha"]


async def test_only_so_many_rows_as_were_asked_for_and_the_rest_is_counted() -> None:
    case = Case()
    case.throttle("delta", 9)
    await case.run("unknown", "beta")
    document = await case.ask(LiveQuery(top=3))
    assert [row["function"] for row in document["functions"]] == ["beta", "unknown", "delta"]
    assert document["functions_left_out"] == 2


async def test_a_search_finds_parts_of_names_whatever_their_case() -> None:
    case = Case(Orders=FunctionLimits(), refunds=FunctionLimits(), **FEW)
    case.throttle("alpha", 5)
    await case.run("REORDER", "beta")
    document = await case.ask(LiveQuery(search="order"))
    assert [row["function"] for row in document["functions"]] == ["REORDER", "Orders"]
    assert document["functions_left_out"] == 0


async def test_a_question_about_one_account_gets_its_rows_alone() -> None:
    case = Case(AccountLimits("111122223333", 5, {"alpha": FunctionLimits(2)}))
    await case.run("alpha")
    document = await case.ask(LiveQuery("111122223333"))
    assert [account["account"] for account in document["accounts"]] == ["111122223333"]
    assert [(row["account"], row["in_flight"], row["ceiling"]) for row in document["functions"]] == [
        ("111122223333", 0, 2)
    ]
    assert (await case.ask(LiveQuery("999999999999")))["accounts"] == []


async def test_claimed_is_what_is_reserved_and_what_unreserved_calls_use() -> None:
    case = Case(kept=FunctionLimits(8), other=FunctionLimits())
    await case.run("kept", "other", "other", "other")
    (account,) = (await case.ask())["accounts"]
    assert (account["reserved"], account["claimed"], account["in_flight"]) == (8, 11, 4)
    assert account["unreserved"] == {"in_flight": 3, "ceiling": 12, "holds": 0}


async def test_throttles_of_functions_without_a_label_are_told_as_what_they_are() -> None:
    case = Case(labelled=1)
    case.throttle("alpha", 1)
    case.throttle("other", 4)
    document = await case.ask()
    assert [(row["function"], row["throttles_are_counted"]) for row in document["functions"]] == [
        ("alpha", True),
        ("beta", False),
        ("gamma", False),
        ("delta", False),
    ]
    (account,) = document["accounts"]
    assert account["throttles"] == {REASON: 5}
    assert account["throttles_of_others"] == {REASON: 4}


async def test_many_functions_make_no_more_rows_than_asked_for() -> None:
    case = Case(**{f"f{number}": FunctionLimits() for number in range(20_000)})
    document = await case.ask(LiveQuery(search="7", top=MOST_ROWS))
    assert len(document["functions"]) == MOST_ROWS
    assert document["functions_left_out"] == sum("7" in str(number) for number in range(20_000)) - MOST_ROWS


def test_a_question_is_read_from_a_query_string() -> None:
    assert read_live_query({}) == LiveQuery()
    assert read_live_query({"search": "CheckOut", "account": "111122223333", "top": "7"}) == LiveQuery(
        "111122223333", "checkout", 7
    )
    assert read_live_query({"top": "999999", "search": "", "account": ""}) == LiveQuery(top=MOST_ROWS)


@pytest.mark.parametrize("parameters", [{"top": "x"}, {"top": "-1"}, {"account": "1"}, {"search": "x" * 257}])
def test_a_question_that_makes_no_sense_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(BadLiveQuery):
        read_live_query(parameters)


# The stream.


class Client:
    """The other side of an event stream, which takes what it is sent only when `may_read` is set."""

    def __init__(self, live_stream: LiveStream, query: LiveQuery) -> None:
        self.received: list[bytes] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.has_left = asyncio.Event()
        stream = LiveResponse(live_stream, query, {})
        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        self.task = asyncio.create_task(stream(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self.has_left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.may_read.wait()
        self.received.append(message.get("body", b""))

    def documents(self) -> list[Any]:
        return [json.loads(body[6:]) for body in self.received if body.startswith(b"data: ")]

    async def until(self, is_true: Callable[[], object]) -> None:
        await eventually(is_true, lambda: self.received)


def live_stream_of(case: Case, most: int = 50) -> LiveStream:
    """Ticks are the test's to make."""
    return LiveStream(case.view, tick_seconds=3600, most=most)


async def test_subscribers_with_the_same_query_share_one_answer() -> None:
    case = Case()
    live_stream = live_stream_of(case)
    clients = [Client(live_stream, LiveQuery(search="a")) for _ in range(3)]
    for client in clients:
        await client.until(client.documents)
    snapshots = case.snapshots
    await case.run("alpha")
    await live_stream.tick()
    assert case.snapshots == snapshots + 1
    for client in clients:
        await client.until(lambda client=client: len(client.documents()) == 2)
        assert client.documents()[-1]["functions"][0]["in_flight"] == 1
    assert clients[0].received[-1] is clients[1].received[-1]
    for client in clients:
        client.has_left.set()
        await client.task
    assert repr(live_stream) == "<LiveStream 0 with 0 queries>"


async def test_nothing_runs_while_nobody_watches() -> None:
    case = Case()
    live_stream = LiveStream(case.view, tick_seconds=0.001)
    client = Client(live_stream, LiveQuery())
    await client.until(lambda: case.snapshots > 5)
    client.has_left.set()
    await client.task
    await asyncio.sleep(0)  # a turn in which a task that is told to end does so
    assert [task for task in asyncio.all_tasks() if task.get_name() == "live updates" and not task.done()] == []


async def test_of_shared_counters_what_is_in_flight_is_of_all_gateways_beside_this_ones() -> None:
    """Also of functions that run elsewhere only. What this gateway has just begun counts before the store says so."""
    shared = Shared(account=9, unreserved=9, **{"function/beta": 4, "function/alpha": 1})
    case = Case(shared=shared)
    await case.run("alpha", "alpha", "alpha", "fresh")
    document = await case.ask()
    assert document["shared"] == {"gateway": "g-7f3a2b1c", "gateways": 3, "sums_age_seconds": 0, "trouble": None}
    (account,) = document["accounts"]
    assert (account["in_flight"], account["in_flight_here"], account["claimed"]) == (9, 4, 9)
    assert (account["unreserved"]["in_flight"], account["unreserved"]["in_flight_here"]) == (9, 4)
    rows = [(row["function"], row["in_flight"], row["in_flight_here"]) for row in document["functions"][:3]]
    assert rows == [("beta", 4, 0), ("alpha", 3, 3), ("fresh", 1, 1)]


async def test_the_age_of_sums_changes_the_document_only_once_they_are_old() -> None:
    shared = Shared()
    case = Case(shared=shared)
    ages = []
    for shared.age in (None, 0.2, 4.9, 5.2, 75.9):
        ages.append((await case.ask())["shared"]["sums_age_seconds"])
    assert ages == [None, 0, 0, 5, 75]


async def test_counters_in_memory_have_nothing_of_other_gateways() -> None:
    case = Case()
    await case.run("alpha")
    document = await case.ask()
    assert document["shared"] is None
    assert "in_flight_here" not in document["accounts"][0]
    assert "in_flight_here" not in document["functions"][0]


async def test_the_sums_are_read_while_somebody_watches_and_a_failure_ends_nothing() -> None:
    shared = Shared()
    case = Case(shared=shared)
    live_stream = LiveStream(case.view, tick_seconds=3600, read_sums=shared.read_sums, sums_seconds=0.001)
    await asyncio.sleep(0.01)
    assert shared.reads == 0
    first, second = Client(live_stream, LiveQuery()), Client(live_stream, LiveQuery(search="a"))
    await first.until(lambda: shared.reads > 3)
    readers = [task for task in asyncio.all_tasks() if task.get_name() == "sums of all gateways"]
    assert len(readers) == 1
    for client in (first, second):
        client.has_left.set()
        await client.task
    await asyncio.wait_for(
        readers[0], 5
    )  # it ends by itself: a read that is cut off would cost the calls their connection


async def test_who_does_not_read_is_not_written_to_and_then_gets_the_latest() -> None:
    case = Case()
    live_stream = live_stream_of(case)
    client = Client(live_stream, LiveQuery())
    await client.until(client.documents)
    client.may_read.clear()
    for _ in range(10):
        await case.run("alpha")
        await live_stream.tick()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(client.documents()) == 1
    client.may_read.set()
    await client.until(lambda: client.documents()[-1]["functions"][0]["in_flight"] == 10)
    assert len(client.documents()) <= 3, "what was on its way, and the latest"
    client.has_left.set()
    await client.task


async def test_a_reload_is_seen_at_the_next_tick() -> None:
    case = Case()
    live_stream = live_stream_of(case)
    client = Client(live_stream, LiveQuery(search="new"))
    await client.until(client.documents)
    case.limits = Limits(AccountLimits("000000000000", 20, {"newcomer": FunctionLimits()}))
    await live_stream.tick()
    await client.until(lambda: client.documents()[-1]["functions"])
    assert client.documents()[-1]["functions"][0]["function"] == "newcomer"
    client.has_left.set()
    await client.task


def test_what_has_not_changed_is_sent_again_only_as_a_sign_of_life() -> None:
    topic = Topic(LiveQuery())
    topic.publish(b"{}", now=10.0)
    topic.publish(b"{}", now=10.0 + BEAT_SECONDS / 2)
    assert topic.version == 1
    topic.publish(b"{}", now=10.0 + BEAT_SECONDS)
    assert topic.version == 2


async def test_closing_ends_the_streams_with_a_word() -> None:
    live_stream = live_stream_of(Case())
    client = Client(live_stream, LiveQuery())
    await client.until(client.documents)
    live_stream.close()
    await client.task
    assert client.received[-2:] == [b"event: end\ndata: {}\n\n", b""]
    assert live_stream.why_not() == "The gateway is stopping. Watch the one that takes its place."


# Over the wire.


@pytest.fixture
def served() -> Iterator[Gateway]:
    with gateway(accounts={"default": {"concurrent_executions": 2}}) as started:
        yield started


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def test_the_stream_is_one_of_server_sent_events_that_no_cache_keeps(served: Gateway) -> None:
    answer = served.fetch("/live", "HEAD")
    assert answer.status == 200
    assert (answer.header("content-type") or "").startswith("text/event-stream")
    assert answer.header("cache-control") == "no-store"
    assert answer.header("access-control-allow-origin") is None


def test_a_question_that_makes_no_sense_gets_a_text(served: Gateway) -> None:
    answer = served.fetch("/live?top=many")
    assert answer.status == 400
    assert answer.json == {"error": "top=many is not a number. Send the number of rows."}


def test_a_watcher_too_many_is_told_so(served: Gateway) -> None:
    served.on_loop(lambda: setattr(served.server.gateway.admin.live_stream, "_most", 1))
    with Wire(served.server.admin.port) as first:
        first.send(request("/live"))
        served.until(lambda: served.server.gateway.admin.live_stream.count == 1, "a watcher")
        answer = served.fetch("/live")
        assert answer.status == 503
        assert answer.json["error"].startswith("1 viewers are connected, the maximum.")
    served.until(lambda: served.server.gateway.admin.live_stream.count == 0, "no watcher")


def test_the_refusals_are_there_without_a_browser(served: Gateway) -> None:
    with calls_under_way(served, "hold-a", "hold-b"):
        assert served.send(invoke("c", b'"secret"', "Authorization: secret")).status == 429
        served.until(served.server.gateway.last_refusals.newest_first, "a refusal")
        (refused,) = served.fetch("/refusals").json["refusals"]
    assert refused["function"] == "c"
    assert refused["limit"] == "unreserved_concurrent_executions"
    assert {occupant["function"] for occupant in refused["occupied_by"]} == {"hold-a", "hold-b"}
    assert "secret" not in json.dumps(refused)


def test_the_page_may_run_nothing_but_itself(served: Gateway) -> None:
    answer = served.fetch("/")
    assert answer.status == 200
    assert answer.header("content-type") == "text/html; charset=utf-8"
    policy = answer.header("content-security-policy") or ""
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert answer.body == load_page().html
    assert b" style=" not in answer.body, "the policy would not let it in"
    assert answer.body.count(b"http") == answer.body.count(b"http://www.w3.org/2000/svg"), "names of formats only"


@pytest.mark.lateness
def test_watchers_do_not_hold_a_stop_up_even_if_they_do_not_read() -> None:
    functions = {f"a-function-with-a-rather-long-name-{number}": {} for number in range(500)}
    started = gateway_with(functions)
    with (
        Wire(started.server.admin.port) as reader,
        Wire(started.server.admin.port, receive_buffer=4096) as deaf,
    ):
        reader.send(request("/live"))
        deaf.send(request("/live?top=200"))
        live_stream = started.server.gateway.admin.live_stream
        started.until(lambda: live_stream.count == 2, "two watchers")
        began = time.monotonic()
        started.stop()
        judge(began, 3)


def gateway_with(functions: dict[str, Any]) -> Gateway:
    return Gateway(accounts={"default": {"functions": functions}}).start()
