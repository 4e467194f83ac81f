"""`/in-flight`: who holds the slots of one gateway, and how reports of several become one document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from invoke_gateway.admin.holds import ActiveHold, HoldRequest
from invoke_gateway.admin.in_flight import merge
from invoke_gateway.counters.holders import Report
from invoke_gateway.exchange import Exchange
from tests.support.sockets import PATIENCE, Gateway, Wire, calls_under_way, gateway, invoke

DEFAULT = "000000000000"
NAMED = "111122223333"
ACCOUNTS: dict[str, Any] = {
    "default": {"concurrent_executions": 10, "functions": {"hold-b": {"reserved_concurrent_executions": 2}}},
    NAMED: {"concurrent_executions": 5},
}
ID = "12345678-abcd-4000-8000-123456789abc"


@pytest.fixture
def served() -> Iterator[Gateway]:
    with gateway(accounts=ACCOUNTS) as started:
        yield started


def signed(key: str) -> str:
    return f"Authorization: AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/lambda/aws4_request, Signature=0"


def show(served: Gateway, query: str = "") -> dict[str, Any]:
    answer = served.fetch(f"/in-flight{query}")
    assert answer.status == 200, answer
    document: dict[str, Any] = answer.json
    return document


def take_hold(served: Gateway, wanted: HoldRequest) -> ActiveHold:
    taken = asyncio.run_coroutine_threadsafe(served.server.gateway.holds.take(wanted), served._loop).result(PATIENCE)
    assert isinstance(taken, ActiveHold), taken
    return taken


def test_where_nothing_runs_nobody_holds_anything(served: Gateway) -> None:
    assert show(served) == {"holders": [], "left_out": 0, "gateways": [], "trouble": None}


def test_each_call_is_shown_with_its_request_id_its_caller_and_its_age_oldest_first(served: Gateway) -> None:
    with Wire(served.port) as first, Wire(served.port) as second:
        first.send(invoke("hold-a", b"{}", f"x-amzn-RequestId: {ID}", signed("AKIAONE")))
        served.until_running(1)
        second.send(invoke("hold-b", b"{}", signed(NAMED)))
        served.until_running(2)
        document = show(served)
        served.release()
        request_id = second.answer().header("x-amzn-requestid")
        assert first.answer().header("x-amzn-requestid") == ID
    (one, two) = document["holders"]
    assert one["age_seconds"] >= two["age_seconds"] > 0
    del one["age_seconds"], two["age_seconds"]
    here = {"gateway": None, "worker": None, "slots": 1}
    assert one == here | {"account": DEFAULT, "function": "hold-a", "request_id": ID, "caller": "AKIAONE"}
    assert two == here | {"account": NAMED, "function": "hold-b", "request_id": request_id, "caller": NAMED}
    assert document["left_out"] == 0
    assert show(served)["holders"] == []


def test_an_unsigned_call_has_no_caller_and_the_id_that_is_shown_is_the_one_that_it_is_answered_with(
    served: Gateway,
) -> None:
    with Wire(served.port) as wire:
        wire.send(invoke("hold-a"))
        served.until_running(1)
        (row,) = show(served)["holders"]
        served.release()
        assert wire.answer().header("x-amzn-requestid") == row["request_id"]
    assert row["caller"] is None


def test_the_caller_is_known_too_where_the_limits_are_the_same_for_all() -> None:
    with gateway() as plain, Wire(plain.port) as wire:
        wire.send(invoke("hold-a", b"{}", signed("AKIAONE")))
        plain.until_running(1)
        assert [row["caller"] for row in show(plain)["holders"]] == ["AKIAONE"]
        plain.release()
        wire.answer()


def test_it_can_be_asked_of_one_function_one_account_and_for_so_many_rows(served: Gateway) -> None:
    with calls_under_way(served, "hold-a", "hold-a", "hold-b"), Wire(served.port) as wire:
        wire.send(invoke("hold-a", b"{}", signed(NAMED)))
        served.until_running(4)
        assert {(row["account"], row["function"]) for row in show(served, "?function=hold-a")["holders"]} == {
            (DEFAULT, "hold-a"),
            (NAMED, "hold-a"),
        }
        assert [row["function"] for row in show(served, f"?account={NAMED}")["holders"]] == ["hold-a"]
        assert len(show(served, "?account=999999999999")["holders"]) == 3, "it shares the default account's slots"
        few = show(served, f"?account={DEFAULT}&most=1")
        assert ([row["function"] for row in few["holders"]], few["left_out"]) == (["hold-a"], 2)
        assert [(one["account"], one["slots"]) for one in show(served)["gateways"]] == [(DEFAULT, 3), (NAMED, 1)]


def test_slots_that_are_held_on_purpose_are_one_row_with_the_id_of_the_hold(served: Gateway) -> None:
    hold = take_hold(served, HoldRequest("hold-b", 2))
    pool = take_hold(served, HoldRequest(None, 3))
    rows = show(served, "?most=4")["holders"]
    assert [(row["function"], row["hold"], row["slots"]) for row in rows] == [
        ("hold-b", hold.id, 2),
        (None, pool.id, 3),
    ]
    assert show(served, "?most=4")["left_out"] == 0
    assert "request_id" not in rows[0]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?function=a/b", "function must be a plain function name"),
        ("?account=12", "account must be twelve digits"),
        ("?most=0", "most must be a number of rows from 1 to 1000."),
        ("?most=1001", "most must be a number of rows from 1 to 1000."),
        ("?most=%C2%B2", "most must be a number of rows from 1 to 1000."),
        ("?rows=3", "The query has no key 'rows'. Its keys are function, account, most."),
    ],
)
def test_a_question_that_makes_no_sense_is_told_what_would(served: Gateway, query: str, says: str) -> None:
    answer = served.fetch(f"/in-flight{query}")
    assert answer.status == 400
    assert answer.json["error"].startswith(says)


def test_a_slot_knows_its_call_while_it_is_held_without_the_body_and_nothing_afterwards(served: Gateway) -> None:
    """Also when the client has gone and the backend still works."""
    counters = served.server.gateway.counters
    with Wire(served.port) as wire:
        wire.send(invoke("hold-a", b'"' + b"x" * 20_000 + b'"'))
        served.until_running(1)
        ((slot, _),) = served.on_loop(lambda: counters.oldest_slots(f"{DEFAULT}/account", 9))
        wire.reset()
    served.until(lambda: not served.connections, "the client has gone")
    assert len(show(served)["holders"]) == 1
    assert isinstance(slot.holder, Exchange)
    assert slot.holder.body == b""
    served.release()
    served.until_idle()
    assert slot.holder is None


# Several reports


def row(age: float, **more: Any) -> dict[str, Any]:
    return {"account": "a", "function": "f", "request_id": "r", "caller": None, "slots": 1, "age_seconds": age, **more}


def test_rows_of_all_reports_are_sorted_by_age_and_carry_gateway_and_worker() -> None:
    reports = [
        Report("g-1.2r1", "a", 2, [row(3.0), row(1.0)]),
        Report("g-2", "a", 1, [row(2.0)]),
    ]
    document = merge(reports, 100)
    assert [(one["gateway"], one["worker"], one["age_seconds"]) for one in document["holders"]] == [
        ("g-1", "2r1", 3.0),
        ("g-2", None, 2.0),
        ("g-1", "2r1", 1.0),
    ]
    assert document["left_out"] == 0


def test_what_is_left_out_counts_the_slots_that_no_row_shows() -> None:
    reports = [Report("g-1", "a", 9, [row(3.0, slots=4, hold="1"), row(2.0)]), Report("g-2", "a", 5, [], None)]
    assert merge(reports, 100)["left_out"] == 4 + 5
    assert merge(reports, 1)["left_out"] == 5 + 5


def test_of_two_reports_of_the_same_process_and_account_the_later_is_taken() -> None:
    listed = Report("g-1", "a", 3, [row(9.0)], 2.0, 7.5)
    live = Report("g-1", "a", 1, [row(1.0)])
    document = merge([listed, live, Report("g-1", "b", 1, [row(0.5, account="b")])], 100)
    assert [one["age_seconds"] for one in document["holders"]] == [1.0, 0.5]
    assert document["gateways"][0] == {
        "gateway": "g-1",
        "worker": None,
        "account": "a",
        "slots": 1,
        "listed_seconds_ago": 0.0,
        "seconds_left": 7.5,
        "is_alive": True,
    }


def test_who_holds_nothing_any_more_is_not_shown_nor_are_the_calls_that_it_listed() -> None:
    assert merge([Report("g-1", "a", 0, [row(9.0)], 2.0, 7.5)], 100) == {"holders": [], "left_out": 0, "gateways": []}


def test_a_report_travels_as_json() -> None:
    report = Report("g-1", "a", 2, [row(3.0), row(1.0, hold="3")], None, 1.5, False)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    assert json.loads(json.dumps(merge([report], 100))) == merge([report], 100)
