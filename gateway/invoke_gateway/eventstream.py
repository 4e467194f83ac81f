"""Encodes messages of `application/vnd.amazon.eventstream`, the framing of InvokeWithResponseStream's response.

    total length (4) | headers length (4) | CRC-32 of these eight bytes (4) |
    headers | payload | CRC-32 of all before (4)

All integers are big-endian. A header is its name (length in one byte), a type (7, a string) and its value
(length in two). Source: botocore/eventstream.py, which decodes it.
"""

import struct
import zlib

CONTENT_TYPE = "application/vnd.amazon.eventstream"

PAYLOAD_CHUNK = "PayloadChunk"  # a piece of what the function wrote; its payload is raw bytes
INVOKE_COMPLETE = "InvokeComplete"  # the last message; its payload is JSON: ErrorCode, ErrorDetails, LogResult

_PRELUDE = struct.Struct("!II")
_CHECKSUM = struct.Struct("!I")
_STRING = 7
_OVERHEAD = 16  # bytes: the prelude, its checksum and the one of the message


def encode(event_type: str, payload: bytes, content_type: str) -> bytes:
    """Encodes an event message with `payload`; botocore decodes at most 24 MiB. Raises `struct.error` for a content
    type of more than 65,535 bytes."""
    headers = (
        _header(b":event-type", event_type)
        + _header(b":content-type", content_type)
        + _header(b":message-type", "event")
    )
    prelude = _PRELUDE.pack(_OVERHEAD + len(headers) + len(payload), len(headers))
    checked = b"".join((prelude, _CHECKSUM.pack(zlib.crc32(prelude)), headers, payload))
    return checked + _CHECKSUM.pack(zlib.crc32(checked))


def _header(name: bytes, value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(f"!B{len(name)}sBH", len(name), name, _STRING, len(encoded)) + encoded
