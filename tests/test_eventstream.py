import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.eventstream import INVOKE_COMPLETE, PAYLOAD_CHUNK, encode


def decode(stream: bytes) -> list[tuple[dict[str, str], bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    return [(message.headers, message.payload) for message in buffer]


@given(payload=st.binary(max_size=2_000))
def test_botocore_decodes_what_was_encoded(payload: bytes) -> None:
    assert decode(encode(PAYLOAD_CHUNK, payload, "application/octet-stream")) == [
        (
            {
                ":event-type": "PayloadChunk",
                ":content-type": "application/octet-stream",
                ":message-type": "event",
            },
            payload,
        )
    ]


def test_messages_one_after_another_stay_apart_and_in_order() -> None:
    stream = (
        encode(PAYLOAD_CHUNK, b"first", "application/octet-stream")
        + encode(PAYLOAD_CHUNK, b"", "application/octet-stream")
        + encode(INVOKE_COMPLETE, b"{}", "application/json")
    )
    assert [(headers[":event-type"], payload) for headers, payload in decode(stream)] == [
        ("PayloadChunk", b"first"),
        ("PayloadChunk", b""),
        ("InvokeComplete", b"{}"),
    ]


@pytest.mark.parametrize("at", [0, 5, 20, -6, -1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    message = bytearray(encode(PAYLOAD_CHUNK, b"a payload", "application/octet-stream"))
    message[at] ^= 1
    with pytest.raises(ChecksumMismatch):
        decode(bytes(message))


def test_a_message_of_a_mebibyte_is_longer_than_its_payload_by_headers_and_sixteen_bytes() -> None:
    payload = b"x" * 1_048_576
    [(headers, decoded)] = decode(message := encode(PAYLOAD_CHUNK, payload, "text/plain"))
    assert decoded == payload
    headers_length = sum(4 + len(name) + len(value) for name, value in headers.items())
    assert len(message) == len(payload) + headers_length + 16
