"""Holds what a client connection is made with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from uvicorn.config import Config
from uvicorn.server import ServerState

from ..refusals import Rendered
from ..write_batcher import WriteBatcher
from .limits import ListenerLimits

Refuse = Callable[..., Rendered]
"""Renders a refusal, with the values of its text, as the listener's clients read it."""

ExtraHeaders = Callable[[Mapping[bytes, bytes]], list[tuple[bytes, bytes]]]
"""Returns the further headers of the answer to a request with these headers."""


class ConnectionSetup(NamedTuple):
    """Holds the arguments of `InvokeProtocol`, whose docstring has their meanings."""

    config: Config
    server_state: ServerState
    loop: asyncio.AbstractEventLoop
    limits: ListenerLimits
    write_batcher: WriteBatcher
    refuse: Refuse
    extra_headers: ExtraHeaders | None
