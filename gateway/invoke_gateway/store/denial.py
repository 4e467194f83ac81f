"""Reads why a server closes each connection: a stock Redis or Valkey sends the reason before it closes.

The greeting may be written before the reason is read. Its error is then that of the write, and the reason is lost.
"""

from __future__ import annotations

import asyncio
import contextlib

from redis.exceptions import ConnectionError

from ..dialing import Dialer

_DENIED = b"-DENIED "
_SECONDS = 0.1  # a server that accepts the connection sends nothing
PROTECTED_MODE = (
    "the server refuses other machines (protected mode); set its `requirepass` and the password in the URL, or its "
    "`protected-mode no` in a network that only gateways reach"
)


def is_denial(error: Exception) -> bool:
    """Returns True for the reason itself, where it has been read."""
    return isinstance(error, ConnectionError) and error.status_code == "DENIED"


async def find_denial(dialer: Dialer) -> str | None:
    """Returns why the server refuses connections, or None where it sends no reason."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(sock=await dialer.open())
            try:
                if await reader.readexactly(len(_DENIED)) == _DENIED:
                    return PROTECTED_MODE
            except asyncio.IncompleteReadError:
                return None
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    return None
