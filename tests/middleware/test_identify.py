"""What is invoked, and requests that two readers could understand differently."""

from __future__ import annotations

import pytest

from invoke_gateway.invocation import Function, Invocation, InvocationType, Operation
from invoke_gateway.middleware.identify import Identify
from invoke_gateway.policy.requests.request_target import READ_HEADERS
from invoke_gateway.refusals import Refusal
from tests.middleware.stages import Inside, drive

REGION = "us-east-1"


async def test_an_invocation_is_noted_on_the_exchange() -> None:
    inside = Inside()
    await drive(Identify(inside, region=REGION), headers=(("host", "x"), ("x-amz-invocation-type", "Event")))
    (exchange,) = inside.exchanges
    assert exchange.invocation == Invocation(Operation.INVOKE, Function("echo"), InvocationType.EVENT)


METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]


@pytest.mark.parametrize("method", METHODS)
async def test_any_method_invokes(method: str) -> None:
    """AWS's Runtime Interface Emulator runs the function for every method, so every method takes a slot."""
    inside = Inside()
    await drive(Identify(inside, region=REGION), method=method)
    (exchange,) = inside.exchanges
    assert exchange.invocation == Invocation(Operation.INVOKE, Function("echo"), InvocationType.REQUEST_RESPONSE)


@pytest.mark.parametrize("method", METHODS)
async def test_only_a_post_is_an_event(method: str) -> None:
    """A preflight must not be kept as an event, and what takes no slot must not reach a backend that would run it."""
    inside = Inside()
    await drive(Identify(inside, region=REGION), method=method, path="/2014-11-13/functions/echo/invoke-async")
    (exchange,) = inside.exchanges
    assert exchange.invocation == Invocation(Operation.INVOKE_ASYNC, Function("echo"), InvocationType.REQUEST_RESPONSE)
    for type_ in ("Event", "DryRun"):
        headers = (("x-amz-invocation-type", type_),)
        driven = await drive(Identify(inside, region=REGION), method=method, headers=headers)
        assert driven.exchange.refusal is Refusal.VALIDATION
        assert driven.exchange.refusal_values["text"] == (
            f"1 validation error detected: Value '{type_}' at 'invocationType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [RequestResponse]"
        )
    assert len(inside.exchanges) == 1


async def test_what_is_no_invocation_goes_on_without_one() -> None:
    inside = Inside()
    await drive(Identify(inside, region=REGION), path="/2015-03-31/functions")
    assert inside.exchanges[0].invocation is None


@pytest.mark.parametrize("name", sorted(name.decode() for name in READ_HEADERS))
@pytest.mark.parametrize("path", ["/2015-03-31/functions/echo/invocations", "/2015-03-31/functions"])
async def test_a_header_that_a_stage_reads_may_come_only_once(name: str, path: str) -> None:
    """A backend that takes the other copy would run something else than what was counted."""
    inside = Inside()
    driven = await drive(Identify(inside, region=REGION), path=path, headers=((name, "a"), ("x", "y"), (name, "a")))
    assert driven.exchange.refusal is Refusal.AMBIGUOUS_REQUEST
    assert driven.exchange.refusal_values == {"text": f"Send {name} only once."}
    assert inside.exchanges == []


async def test_any_other_header_may_come_as_often_as_it_likes() -> None:
    inside = Inside()
    await drive(Identify(inside, region=REGION), headers=(("via", "a"), ("via", "b")))
    assert inside.exchanges[0].refusal is None


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity", "chunked, chunked", ""])
async def test_the_only_transfer_coding_is_chunked(coding: str) -> None:
    inside = Inside()
    driven = await drive(Identify(inside, region=REGION), headers=(("transfer-encoding", coding),))
    assert driven.exchange.refusal is Refusal.AMBIGUOUS_REQUEST
    assert inside.exchanges == []


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED"])
async def test_chunked_may_be_written_in_any_case(coding: str) -> None:
    inside = Inside()
    await drive(Identify(inside, region=REGION), headers=(("transfer-encoding", coding),))
    assert len(inside.exchanges) == 1


@pytest.mark.parametrize(("given", "length"), [("0" * 5000 + "12", 12), ("0" * 5000, 0), ("0012", 12)])
async def test_a_length_of_many_zeros_is_what_it_says(given: str, length: int) -> None:
    """`int` refuses thousands of digits."""
    inside = Inside()
    await drive(Identify(inside, region=REGION), headers=(("content-length", given),))
    assert inside.exchanges[0].content_length == length


async def test_a_bad_target_is_refused_with_its_text() -> None:
    inside = Inside()
    driven = await drive(Identify(inside, region=REGION), path="/2015-03-31/functions/no%20name/invocations")
    assert driven.exchange.refusal is Refusal.VALIDATION
    assert str(driven.exchange.refusal_values["text"]).startswith("1 validation error detected: Value 'no name' at ")
    assert inside.exchanges == []
