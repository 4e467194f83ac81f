"""The side that clients see: `protocol` (one connection), `head` (targets, Host and lists of a request), `cycle` (one
request as ASGI), `sweep` (the time-outs), `overflow` (the answer to connections above the ceiling)."""

from .protocol import InvokeProtocol, ListenerLimits
from .sweep import keep_sweeping, sweep

__all__ = ["InvokeProtocol", "ListenerLimits", "keep_sweeping", "sweep"]
