"""Counts the bytes that a client has not taken yet, those in the kernel's buffer included.

The kernel asks for more only once about a third of its buffer is free. The transport's own buffer stands still for that
long, a minute and more with a client at 20 kB/s, though the client reads all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # other systems have none

_INT = struct.Struct("i")


def count_unacknowledged(transport: asyncio.Transport) -> int:
    """Returns the bytes that were written and not acknowledged; without those in the kernel where it does not tell
    them (SIOCOUTQ, of Linux)."""
    count = transport.get_write_buffer_size()
    socket = transport.get_extra_info("socket")
    if fcntl is not None and socket is not None and (descriptor := socket.fileno()) >= 0:
        with contextlib.suppress(OSError):  # another system
            count += _INT.unpack(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(_INT.size)))[0]
    return count
