"""Calls that real clients make and a real emulator answers, with the gateway between them."""

import uuid
from collections.abc import Callable

from tests.live.clients import Boto3, Client, Connect, event
from tests.live.scenario import is_uuid
from tests.live.servers import Gateway

RESPONSE_QUOTA = 6_291_556  # bytes


def test_a_function_created_through_the_gateway_can_be_invoked_through_it(client: Client) -> None:
    """One endpoint URL serves the whole client: CreateFunction passes, Invoke is admitted and answered."""
    name = f"created-by-{client.name}"

    arn = client.create(name)
    outcome = client.invoke(name, event(padding="four"))

    assert arn == f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert outcome.status == 200
    assert outcome.json == {"function": name, "padding": 4}
    assert outcome.executed_version == "$LATEST"
    assert outcome.function_error is None
    assert is_uuid(outcome.request_id)


def test_a_call_without_a_body_is_valid(client: Client) -> None:
    """No payload at all is an empty event."""
    outcome = client.invoke("probe", None)

    assert (outcome.status, outcome.json["padding"]) == (200, 0)


def test_the_error_of_a_function_is_no_error_of_the_call(client: Client) -> None:
    """A handler that raises answers 200 with FunctionError, as the backend said it."""
    outcome = client.invoke("probe", event(fail="asked to fail"))

    assert outcome.status == 200
    assert outcome.function_error == "Unhandled"
    assert outcome.json["errorMessage"] == "asked to fail"


def test_a_qualifier_reaches_the_backend(client: Client) -> None:
    """$LATEST goes out percent-encoded in the query and is understood."""
    assert client.invoke("probe", qualifier="$LATEST").status == 200


def test_an_unknown_function_is_the_backends_to_refuse(client: Client) -> None:
    """The gateway does not know which functions exist: the 404 and its text are the backend's."""
    outcome = client.invoke("nowhere")

    assert outcome.error == "ResourceNotFoundException"
    assert outcome.is_modelled is not False
    assert outcome.status == 404
    assert outcome.message is not None
    assert outcome.message.startswith("Function not found: arn:aws:lambda:us-east-1:000000000000:function:nowhere")


def test_a_response_of_exactly_the_quota_passes(connect: Connect, demo_gateway: Gateway) -> None:
    """AWS lets through a hundred bytes more than it takes in: 6,291,556."""
    outcome = connect(demo_gateway.url).invoke("blob", event(bytes=RESPONSE_QUOTA))

    assert (outcome.status, outcome.function_error, len(outcome.payload)) == (200, None, RESPONSE_QUOTA)


def test_one_byte_over_the_response_quota_is_a_function_error(connect: Connect, demo_gateway: Gateway) -> None:
    """Not a status of its own: 200, with an error object in place of what the function returned."""
    outcome = connect(demo_gateway.url).invoke("blob", event(bytes=RESPONSE_QUOTA + 1))

    assert (outcome.status, outcome.function_error) == (200, "Unhandled")
    assert outcome.json == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }


def test_the_deprecated_invoke_async_is_accepted(boto3_client: Callable[..., Boto3], demo_gateway: Gateway) -> None:
    """The third path of the invoke family, with the oldest date."""
    answer = boto3_client(demo_gateway.url).sdk.invoke_async(FunctionName="echo", InvokeArgs=b"{}")

    assert answer["Status"] == 202


def test_the_account_of_the_caller_reaches_the_backend(connect: Connect, gateway: Gateway) -> None:
    """Authorization is passed on: MiniStack, too, takes a 12-digit access key id for the account."""
    outcome = connect(gateway.url, "111122223333").invoke("checkout")

    assert outcome.error == "ResourceNotFoundException"
    assert outcome.message is not None
    assert "111122223333:function:checkout" in outcome.message


def test_a_valid_request_id_of_the_client_is_kept(boto3_client: Callable[..., Boto3], gateway: Gateway) -> None:
    """A refusal carries the UUID that the client sent along as its request id."""
    mine = str(uuid.uuid4())
    client = boto3_client(gateway.url)
    client.sdk.meta.events.register(
        "before-sign.lambda.Invoke",
        lambda request, **_: request.headers.add_header("x-amzn-RequestId", mine),
    )

    outcome = client.invoke("closed")

    assert outcome.error == "TooManyRequestsException"
    assert outcome.request_id == mine
