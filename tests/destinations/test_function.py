"""Another function as a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from invoke_gateway.destinations.targets import Destinations
from invoke_gateway.queue.base import DeliveryFailed, StoreError
from invoke_gateway.queue.outcomes.destination_records import make_record
from tests.support.events import ended

OTHER = "111122223333"


async def test_a_function_is_invoked_with_the_record_in_the_account_of_the_event(
    targets: Destinations, invoked: list[Any]
) -> None:
    event = ended()
    await targets("on_failure", "function:cleanup:live", event)
    assert invoked == [("cleanup", "live", make_record(event), "000000000000")]


async def test_an_arn_names_the_account(targets: Destinations, invoked: list[Any]) -> None:
    await targets("on_success", f"arn:aws:lambda:us-east-1:{OTHER}:function:cleanup", ended("Success"))
    assert [(name, qualifier, account) for name, qualifier, _, account in invoked] == [("cleanup", None, OTHER)]


async def test_as_a_dead_letter_queue_a_function_gets_the_event_itself(
    targets: Destinations, invoked: list[Any]
) -> None:
    await targets("dead_letter_queue", "function:cleanup", ended(body=b'{"id": 7.10}'))
    assert invoked == [("cleanup", None, b'{"id": 7.10}', "000000000000")]


async def test_a_function_of_another_region_is_none_of_this_gateway(targets: Destinations, invoked: list[Any]) -> None:
    with pytest.raises(DeliveryFailed, match="it is in eu-west-1, and this gateway in us-east-1"):
        await targets("on_failure", f"arn:aws:lambda:eu-west-1:{OTHER}:function:cleanup", ended())
    assert invoked == []


async def test_a_full_queue_of_the_gateway_is_a_failed_delivery(make_targets: Callable[..., Destinations]) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise StoreError("bound", "10 events wait; raise async.maximum_events")

    with pytest.raises(DeliveryFailed, match=r"function:cleanup: .* did not accept it: 10 events wait"):
        await make_targets(invoke=refuse)("on_failure", "function:cleanup", ended())
