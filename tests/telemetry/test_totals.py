"""What is counted of a finished request, under CloudWatch's meanings."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.exchange import Exchange
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits
from invoke_gateway.refusals import Refusal
from invoke_gateway.telemetry.totals import (
    DURATION_BOUNDS,
    FINE_BOUNDS,
    DurationHistogram,
    FunctionCounts,
    Histogram,
    Totals,
)

ACCOUNT = AccountLimits("000000000000", 10, {"checkout": FunctionLimits(2)})


def finished(function: str | None = "checkout", **became: Any) -> Exchange:
    exchange = Exchange(0.0)
    if function is not None:
        exchange.plan = ACCOUNT.plan(function)
    for name, value in became.items():
        setattr(exchange, name, value)
    return exchange


def count(*exchanges: Exchange) -> Totals:
    totals = Totals()
    for exchange in exchanges:
        totals.record(exchange)
    return totals


def of_checkout(totals: Totals) -> FunctionCounts:
    return totals.functions.get(("000000000000", "checkout"), FunctionCounts())


def test_an_invocation_that_ran_is_an_invocation() -> None:
    counts = of_checkout(count(finished(slot=object(), status=200, backend_seconds=0.5)))
    assert (counts.invocations, counts.errors, counts.throttles) == (1, 0, {})
    assert (sum(counts.duration.counts), counts.duration.sum) == (1, 0.5)


def test_a_function_error_is_an_invocation_and_an_error() -> None:
    counts = of_checkout(count(finished(slot=object(), status=200, function_error=True, backend_seconds=0.5)))
    assert (counts.invocations, counts.errors) == (1, 1)


@pytest.mark.parametrize("refusal", [refusal for refusal in Refusal if refusal.is_throttle])
def test_a_throttle_is_neither_invocation_nor_error(refusal: Refusal) -> None:
    totals = count(finished(refusal=refusal, status=429))
    counts = of_checkout(totals)
    assert (counts.invocations, counts.errors, counts.throttles) == (0, 0, {refusal.reason: 1})
    assert totals.refusals == {}


def test_an_invocation_stopped_as_a_loop_is_counted_for_its_function() -> None:
    totals = Totals()
    for name in ("checkout", "checkout", "unnamed"):
        totals.record_recursive(ACCOUNT.plan(name))
    assert totals.recursive_invocations_dropped == {("000000000000", "checkout"): 2, ("000000000000", "other"): 1}


@pytest.mark.parametrize("refusal", [refusal for refusal in Refusal if not refusal.is_throttle])
def test_any_other_refusal_is_counted_by_its_code_alone(refusal: Refusal) -> None:
    totals = count(finished(refusal=refusal, status=refusal.status))
    assert (of_checkout(totals).invocations, of_checkout(totals).throttles) == (0, {})
    assert totals.refusals == {refusal.code: 1}


@pytest.mark.parametrize("status", [400, 404, 409, 500, 502])
def test_an_error_of_the_backends_own_is_no_invocation(status: int) -> None:
    """No code ran."""
    counts = of_checkout(count(finished(slot=object(), status=status, backend_seconds=0.5)))
    assert (counts.invocations, counts.errors, sum(counts.duration.counts)) == (0, 0, 0)


@pytest.mark.parametrize("status", [202, 204])
def test_what_took_no_slot_is_no_invocation(status: int) -> None:
    """Event and DryRun: when and whether the function runs is the backend's to count."""
    assert of_checkout(count(finished(status=status))).invocations == 0


def test_a_fault_is_counted_by_its_kind() -> None:
    totals = count(
        finished(error_kind="reset", refusal=Refusal.BACKEND_ERROR), finished(error_kind="timeout", slot=object())
    )
    assert totals.upstream_errors == {"reset": 1, "timeout": 1}
    assert of_checkout(totals).invocations == 0


def test_a_client_that_left_is_counted() -> None:
    assert count(finished(client_is_gone=True)).client_disconnects == 1


def test_a_client_that_left_before_its_answer_was_sent_is_counted_apart() -> None:
    totals = count(finished(response_is_lost=True))
    assert (totals.client_disconnects, totals.lost_responses) == (0, 1)


def test_a_client_that_breaks_off_its_upload_at_the_refusal_has_its_answer() -> None:
    """Only the rest of the upload, which the response's end waits for, is missing."""
    refused = {"refusal": Refusal.REQUEST_TOO_LARGE, "response_is_lost": True}
    assert count(finished(**refused)).lost_responses == 0
    assert count(finished(**refused, body_is_read=True)).lost_responses == 1


def test_a_client_that_left_in_its_request_is_counted_once() -> None:
    """Its answer is lost as well."""
    totals = count(finished(client_is_gone=True, response_is_lost=True))
    assert (totals.client_disconnects, totals.lost_responses) == (1, 0)


@pytest.mark.parametrize(
    "header",
    [
        b"attempt=2; max=3",
        b"ttl=20260101T000000Z; attempt=2; max=3",
        b"attempt=10; max=12",
        b"attempt=3",
        b"max=3;attempt=2",
    ],
)
def test_a_later_attempt_is_a_retry(header: bytes) -> None:
    """Also when it is refused: then it is the load that throttling causes."""
    headers = {b"amz-sdk-request": header}
    served = finished(headers=headers, slot=object(), status=200)
    refused = finished(headers=headers, refusal=Refusal.CONCURRENCY, status=429)
    assert of_checkout(count(served, refused)).retries == 2


@pytest.mark.parametrize(
    "header",
    [
        b"attempt=1; max=3",
        b"ttl=20260101T000000Z; attempt=1; max=3",
        b"attempt=1",
        b"attempt=0; max=3",
        b"attempt=02",
        b"attempt=-2",
        b"attempt=2x",
        b"attempt=2.5; max=3",
        b"attempt=; max=3",
        b"attempt = 2",
        b"lastattempt=2",
        b"max=2",
        b"attempt=" + b"9" * 5000,
        b"attempt=\xb2",
        b";" * 5000,
        b"",
    ],
    ids=lambda header: header[:24].decode("latin-1"),
)
def test_a_first_attempt_and_what_cannot_be_read_are_none(header: bytes) -> None:
    assert of_checkout(count(finished(headers={b"amz-sdk-request": header}))).retries == 0


def test_what_is_no_invocation_is_no_retry() -> None:
    totals = count(finished(None, headers={b"amz-sdk-request": b"attempt=2; max=3"}, status=200))
    assert totals.functions == {}


def test_what_is_no_invocation_is_only_counted_as_passed_through() -> None:
    totals = count(finished(None, status=200), finished(None, status=404))
    assert (totals.passed_through, totals.functions) == (2, {})


def test_functions_without_a_label_of_their_own_are_counted_together() -> None:
    """Whatever a client invents, nothing grows."""
    totals = count(*(finished(f"invented-{n}", slot=object(), status=200) for n in range(100)))
    assert list(totals.functions) == [("000000000000", "other")]
    assert totals.functions["000000000000", "other"].invocations == 100


def test_admission_is_timed_also_where_it_refuses() -> None:
    totals = count(finished(admission_seconds=0.001), finished(admission_seconds=0.001, refusal=Refusal.CONCURRENCY))
    assert sum(totals.admission.counts) == 2


def test_a_bound_belongs_to_its_own_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(seconds)
    assert (histogram.counts, histogram.sum) == ([2, 2, 1], 7.5)


def test_the_buckets_reach_lambdas_longest_time_out() -> None:
    assert DURATION_BOUNDS[-1] == 900
    assert list(DURATION_BOUNDS) == sorted(DURATION_BOUNDS)


@given(st.lists(st.floats(0, 2000) | st.sampled_from(DURATION_BOUNDS)))
def test_the_fine_histogram_of_durations_sums_up_to_that_of_the_metric(durations: list[float]) -> None:
    fine, expected = DurationHistogram(), Histogram(DURATION_BOUNDS)
    for seconds in durations:
        fine.observe(seconds)
        expected.observe(seconds)
    coarse = fine.to_coarse()
    assert (coarse.bounds, coarse.counts, coarse.sum) == (DURATION_BOUNDS, expected.counts, expected.sum)


def test_the_fine_bounds_are_few_and_close() -> None:
    assert len(FINE_BOUNDS) < 100
    assert all(low < high <= 1.26 * low for low, high in pairwise(FINE_BOUNDS))
