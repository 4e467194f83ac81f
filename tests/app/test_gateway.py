"""The chain as a whole: what stands in it, in which order, and that two gateways share nothing."""

from __future__ import annotations

from typing import Any

import pytest

from invoke_gateway.app.gateway import Gateway
from invoke_gateway.settings import Settings

BACKEND = "http://127.0.0.1:9"


def make_gateway(**values: Any) -> Gateway:
    return Gateway(Settings.model_validate(values), backend_url=BACKEND)


def test_the_chain_runs_in_this_order() -> None:
    assert [stage.func.__name__ for stage in make_gateway(backend={"url": BACKEND}).stages] == [
        "Record",
        "ErrorResponse",
        "Identify",
        "Authenticate",
        "Recursion",
        "CheckLength",
        "Precheck",
        "ReadPayload",
        "Handoff",
        "Admission",
    ]


def test_with_verified_signatures_nothing_judges_a_call_before_its_caller_is_verified() -> None:
    stages = make_gateway(backend={"url": BACKEND}, signatures="verify", faults=True).stages
    assert [stage.func.__name__ for stage in stages] == [
        "Record",
        "ErrorResponse",
        "Identify",
        "VerifySignature",
        "CheckLength",
        "VerifiedPrecheck",
        "ReadPayload",
        "Recursion",
        "FaultInjection",
        "Handoff",
        "Admission",
    ]


def test_fault_scripts_are_no_part_of_it_unless_they_are_switched_on() -> None:
    without = [stage.func for stage in make_gateway(faults=False).stages]
    with_scripts = [stage.func.__name__ for stage in make_gateway(faults=True).stages]
    at = with_scripts.index("FaultInjection")
    assert with_scripts[at - 1 : at + 2] == ["Recursion", "FaultInjection", "CheckLength"]
    assert with_scripts[:at] + with_scripts[at + 1 :] == [stage.__name__ for stage in without]


@pytest.mark.parametrize(("faults", "last"), [(False, "Forward"), (True, "InjectedDelay")])
def test_what_stands_behind_admission_is_what_events_go_to_as_well(faults: bool, last: str) -> None:
    gateway = make_gateway(faults=faults)
    (handoff,) = [stage for stage in gateway.stages if stage.func.__name__ == "Handoff"]
    stage: Any = gateway.invoke
    while hasattr(stage, "app") and type(stage).__name__ != "InjectedDelay":
        stage = stage.app
    assert stage is handoff.keywords["unadmitted"]
    assert type(stage).__name__ == last


def test_two_gateways_in_one_process_share_nothing() -> None:
    first, second = make_gateway(), make_gateway()
    for name in ("counters", "totals", "buffers", "pool", "tables", "admin"):
        assert getattr(first, name) is not getattr(second, name)
