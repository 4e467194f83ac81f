"""The last refusals are there without a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.sockets import Gateway, calls_under_way, gateway, invoke


@pytest.fixture
def served() -> Iterator[Gateway]:
    with gateway(accounts={"default": {"concurrent_executions": 2}}) as started:
        yield started


def test_the_refusals_are_there_without_a_browser(served: Gateway) -> None:
    with calls_under_way(served, "hold-a", "hold-b"):
        assert served.send(invoke("c", b'"secret"', "Authorization: secret")).status == 429
        served.until(served.server.gateway.last_refusals.newest_first, "a refusal")
        (refused,) = served.fetch("/refusals").json["refusals"]
    assert refused["function"] == "c"
    assert refused["limit"] == "unreserved_concurrent_executions"
    assert {occupant["function"] for occupant in refused["occupied_by"]} == {"hold-a", "hold-b"}
    assert "secret" not in json.dumps(refused)
