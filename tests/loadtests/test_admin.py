"""What is asked of the second listener, and how a slot that was lost is found, against a real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest

from loadtests.load.admin import AdminClient, Silence, in_flight_of, look_for_leaks
from tests.support.gateways import GatewayUnderTest, serving

LIMITS = {"concurrent_executions": 10, "functions": {"checkout": {"reserved_concurrent_executions": 4}}}
NOBODY = "http://127.0.0.1:9"  # the backend is not asked

T = TypeVar("T")


@pytest.fixture
async def gateway() -> AsyncIterator[GatewayUnderTest]:
    async with serving(NOBODY, accounts={"default": LIMITS}) as gateway:
        yield gateway


async def ask(gateway: GatewayUnderTest, do: Callable[[AdminClient], T]) -> T:
    admin = AdminClient(f"{gateway.admin.host}:{gateway.admin.port}")
    try:
        return await asyncio.to_thread(do, admin)
    finally:
        admin.close()


async def test_with_every_slot_free_everything_can_be_taken_and_is_given_back(gateway: GatewayUnderTest) -> None:
    quiet = await ask(gateway, lambda admin: look_for_leaks(admin, 1))
    assert quiet == (0, (), ())
    assert gateway.what_is_held() == {}


@pytest.mark.parametrize(("function", "counted_as"), [("checkout", "checkout"), (None, "unreserved")])
async def test_a_slot_that_stays_taken_is_a_leak(
    gateway: GatewayUnderTest, function: str | None, counted_as: str
) -> None:
    hold = {"function": function, "slots": 2}
    status, _ = await ask(gateway, lambda admin: admin.ask("POST", "/holds", hold))
    assert status == 201
    quiet = await ask(gateway, lambda admin: look_for_leaks(admin, 0.2))
    assert (quiet.leaked, len(quiet.problems)) == (2, 1)
    account = await ask(gateway, lambda admin: admin.account())
    assert in_flight_of(account)[counted_as] == 2


async def test_a_slot_that_only_the_limits_do_not_show_is_found_by_taking_everything(
    gateway: GatewayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter that says 0 while its slots cannot be had is the leak that a glance at /limits would miss."""
    await ask(gateway, lambda admin: admin.ask("POST", "/holds", {"function": "checkout"}))
    told = await ask(gateway, lambda admin: admin.account())
    told["in_flight"] = 0
    monkeypatch.setattr(AdminClient, "account", lambda self: told)
    quiet = await ask(gateway, lambda admin: look_for_leaks(admin, 1))
    assert quiet.leaked == 1
    assert "not all 4 slots of checkout can be taken" in quiet.problems[0]


async def test_a_ceiling_that_lets_one_more_through_is_found(
    gateway: GatewayUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a `>=` had become a `>`: the gateway gives 4 slots where it says that there are 3."""
    told = await ask(gateway, lambda admin: admin.account())
    told["functions"][0]["ceiling"] = 3
    monkeypatch.setattr(AdminClient, "account", lambda self: told)
    quiet = await ask(gateway, lambda admin: look_for_leaks(admin, 1))
    assert quiet == (0, ("more than the 3 slots of checkout can be taken",), ())
    assert gateway.what_is_held() == {}


async def test_metrics_are_summed_over_their_labels(gateway: GatewayUnderTest) -> None:
    assert await ask(gateway, lambda admin: admin.metric("invoke_gateway_no_such_metric")) == 0
    limit = await ask(gateway, lambda admin: admin.metric("invoke_gateway_concurrent_executions_limit"))
    assert limit == 10


def test_nobody_there_is_told_with_the_address() -> None:
    with pytest.raises(Silence, match=r"127\.0\.0\.1:9/limits does not answer"):
        AdminClient("http://127.0.0.1:9/").account()


async def test_another_server_is_not_taken_for_a_gateway(gateway: GatewayUnderTest) -> None:
    admin = AdminClient(f"{gateway.listen.host}:{gateway.listen.port}")
    with pytest.raises(Silence, match="not as a gateway does"):
        await asyncio.to_thread(admin.account)
    admin.close()
