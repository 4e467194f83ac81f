"""Computes the chunk size of the demo function `stream` for a response of exactly so many bytes on the wire."""

from __future__ import annotations

from invoke_gateway import eventstream

_LARGEST_CHUNK = 1_048_576
_MOST_CHUNKS = 4096
# What the framing adds to a chunk, and the last message.
_FRAME = len(eventstream.encode(eventstream.PAYLOAD_CHUNK, b"", "application/octet-stream"))
_COMPLETE = len(eventstream.encode(eventstream.INVOKE_COMPLETE, b"{}", "application/json"))


def plan_stream(size: int) -> tuple[int, int]:
    """Returns the chunks, and the bytes of each, for a streamed response of `size` bytes. Raises ValueError if none
    fit."""
    for chunks in range(1, _MOST_CHUNKS):
        each, rest = divmod(size - _COMPLETE, chunks)
        if not rest and 2 <= each - _FRAME <= _LARGEST_CHUNK:
            return chunks, each - _FRAME
    raise ValueError(f"no chunks of one length make {size} bytes: choose another quota, such as 20971520")
