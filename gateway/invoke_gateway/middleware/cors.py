"""Lets web pages of allowed origins read every answer, and answers their browsers' preflights."""

from __future__ import annotations

from collections.abc import Awaitable

from ..asgi import EXCHANGE, HEADERS, App, Message, Receive, Scope, Send, respond
from ..exchange import Exchange
from ..policy.requests.cors import CorsRules, is_preflight, replace
from ..refusals import Refusal, render


class CorsHeaders:
    """Stands before the stage that answers, so that refusals get the headers too; a preflight takes no slot and no
    token. With it, `send` is wrapped: it stands in the chain only where origins are allowed."""

    def __init__(self, app: App, *, rules: CorsRules) -> None:
        self.app = app
        self._rules = rules

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        headers = scope.get(HEADERS)
        if headers is None:
            headers = dict(scope["headers"])
        if is_preflight(scope["method"], headers):
            return self._answer(headers, scope, send)
        added = self._rules.for_response(headers)

        def send_with_headers(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = replace(message.get("headers", ()), added)
            return send(message)

        return self.app(scope, receive, send_with_headers)

    async def _answer(self, request: dict[bytes, bytes], scope: Scope, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        exchange.headers = request
        headers = [(b"x-amzn-requestid", exchange.request_id.encode())]
        if self._rules.allows(request[b"origin"]):
            exchange.status, body = 204, b""
            headers += self._rules.for_preflight(request)
        else:
            exchange.refuse(Refusal.UNKNOWN_ORIGIN)
            rendered = render(Refusal.UNKNOWN_ORIGIN)
            exchange.status, body = rendered.status, rendered.body
            headers += (*rendered.headers, (b"vary", b"Origin"))
        await respond(send, exchange.status, headers, body)
