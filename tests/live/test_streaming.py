"""Streamed answers, as the event-stream parsers of the real SDKs read them."""

from collections.abc import Callable

import pytest

from tests.live.clients import DEFAULT_ACCESS_KEY, Boto3, JavaScript, NodeProcess, event
from tests.live.servers import Gateway

Streaming = Callable[[Gateway], Boto3 | JavaScript]


@pytest.fixture(params=["boto3", "javascript"])
def streaming(request: pytest.FixtureRequest, boto3_client: Callable[..., Boto3]) -> Streaming:
    """Makes clients that can read a streamed answer; the AWS CLI 1 has no command for it."""
    if request.param == "boto3":
        return lambda gateway: boto3_client(gateway.url)
    node: NodeProcess = request.getfixturevalue("node")
    return lambda gateway: JavaScript(node, gateway.url, DEFAULT_ACCESS_KEY)


def test_a_streamed_answer_arrives_chunk_by_chunk(streaming: Streaming, demo_gateway: Gateway) -> None:
    """Each chunk of the demo function is an event of its own, and InvokeComplete ends them."""
    answer = streaming(demo_gateway).stream("stream", event(chunks=3, bytes=100))

    assert answer.status == 200
    assert [len(chunk) for chunk in answer.chunks] == [100, 100, 100]
    assert answer.complete == {}


def test_an_emulators_streamed_answer_passes_unchanged(streaming: Streaming, gateway: Gateway) -> None:
    """MiniStack's own framing of an event stream comes through as it was."""
    answer = streaming(gateway).stream("probe", event(padding="four"))

    assert answer.status == 200
    assert b"".join(answer.chunks) == b'{"function": "probe", "padding": 4}'
    assert answer.complete == {}


def test_a_streaming_call_meets_the_same_reservation(boto3_client: Callable[..., Boto3], gateway: Gateway) -> None:
    """InvokeWithResponseStream is counted like Invoke: at a reservation of zero it is throttled."""
    client = boto3_client(gateway.url)

    with pytest.raises(client.sdk.exceptions.TooManyRequestsException) as refused:
        client.stream("closed", b"{}")

    assert refused.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
