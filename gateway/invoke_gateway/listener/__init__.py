"""Serves clients: `protocol` (one connection; its parts are `transport`, `pipeline`, `scope`, `rejection`, `progress`),
`request_parser` (the requests of a connection), `head` (targets, Host and lists of a request), `cycle` (one request as
ASGI), `timeouts`, `overflow` (the response above the ceiling of connections)."""

from .limits import ListenerLimits
from .protocol import InvokeProtocol
from .request_parser import make_spare_parsers
from .timeouts import close_stalled, enforce_timeouts

__all__ = ["InvokeProtocol", "ListenerLimits", "close_stalled", "enforce_timeouts", "make_spare_parsers"]
