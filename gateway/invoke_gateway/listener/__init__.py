"""Serves clients: `protocol` (one connection; its parts are `transport`, `pipeline`, `scope`, `rejection`, `progress`),
`head` (targets, Host and lists of a request), `cycle` (one request as ASGI), `timeouts`, `overflow` (the response above
the ceiling of connections)."""

from .limits import ListenerLimits
from .protocol import InvokeProtocol
from .timeouts import close_stalled, enforce_timeouts

__all__ = ["InvokeProtocol", "ListenerLimits", "close_stalled", "enforce_timeouts"]
