"""Runs the upload of a request beside its response.

This is a file of its own because it waits while an exception is handled. A module that is compiled may not: all tasks
would see that exception as the one that they handle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine

from ..asgi import Message


async def return_beside(returning: Awaitable[None], upload: Coroutine[None, None, None]) -> None:
    """Runs the upload in a task while it awaits the response. Cancels the upload at the end of the response."""
    uploading = asyncio.create_task(upload)
    try:
        await returning
    finally:
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)


def frame(message: Message, is_chunked: bool) -> bytes:
    """Returns a part of a body as it is sent on. Parts of a chunked body have their size, the last one the end."""
    body: bytes = message.get("body", b"")
    if not is_chunked:
        return body
    framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return framed if message.get("more_body", False) else framed + b"0\r\n\r\n"
