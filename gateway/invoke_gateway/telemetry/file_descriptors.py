"""Detects that no file descriptor is left, by trying: libuv closes new connections without a report."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable

from .totals import Totals

log = logging.getLogger("invoke_gateway")

PAUSE_SECONDS = 0.25

_LIMIT = {
    errno.EMFILE: "the limit of this process is reached (ulimit -n)",
    errno.ENFILE: "the limit of this machine is reached (fs.file-max)",
}


def try_to_open() -> None:
    """Opens and closes a file. Raises OSError where no file descriptor is left."""
    os.close(os.open(os.devnull, os.O_RDONLY))


async def keep_watching_files(totals: Totals, *, open_one: Callable[[], None] = try_to_open) -> None:
    """Logs once when descriptors are used up, and once when some are free again, until cancelled."""
    is_used_up = False
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        try:
            open_one()
        except OSError as error:
            if error.errno in _LIMIT and not is_used_up:
                is_used_up = True
                totals.descriptors_used_up += 1
                log.error(
                    "no file descriptor is left: %s. New connections are closed, and calls that need a new connection "
                    "to the backend fail. Raise the limit, or lower max_connections.",
                    _LIMIT[error.errno],
                )
        else:
            if is_used_up:
                is_used_up = False
                log.info("file descriptors are free again")
