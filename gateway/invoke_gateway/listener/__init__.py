"""Serves clients: `protocol` (one connection), `head` (targets, Host and lists of a request), `cycle` (one request as
ASGI), `timeouts`, `overflow` (the response above the ceiling of connections)."""

from .protocol import InvokeProtocol, ListenerLimits
from .timeouts import close_stalled, enforce_timeouts

__all__ = ["InvokeProtocol", "ListenerLimits", "close_stalled", "enforce_timeouts"]
