"""The side that clients see: `protocol` (one connection), `head` (targets, Host and lists of a request), `cycle` (one
request as ASGI), `close_stalled` (the time-outs), `overflow` (the answer to connections above the ceiling)."""

from .protocol import InvokeProtocol, ListenerLimits
from .timeouts import close_stalled, enforce_timeouts

__all__ = ["InvokeProtocol", "ListenerLimits", "close_stalled", "enforce_timeouts"]
