"""Verifies the signature of each request, and finds the caller and the account that the signature proves.

Whatever can be checked without the body is checked before the body is read. The rest waits for the end of the body. So
the stages between this one and the body may not reveal anything to a caller that is not verified yet:
`Exchange.caller.arn` is None until then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from time import time
from typing import Protocol

from ..asgi import DONE, EXCHANGE, MESSAGE, App, Message, Receive, Scope, Send
from ..buffers import Buffers
from ..exchange import Exchange
from ..invocation import TENANT_HEADER, Caller
from ..policy.identity.access_keys import AccessKeys
from ..policy.identity.authorization import SIGNATURE_LENGTH, SignatureProblem
from ..policy.identity.canonical_request import EMPTY_HASH
from ..policy.identity.known_requests import KnownRequests
from ..policy.identity.signature import MISMATCH, RequestParts, SignedRequest, open_request
from ..policy.limits import Limits
from ..refusals import Refusal

_new = tuple.__new__  # a named tuple's own constructor takes twice the time


class Authorize(Protocol):
    """Decides whether a verified caller may do what it requests."""

    def __call__(self, exchange: Exchange, scope: Scope) -> bool:
        """Returns whether the caller may do it. Records the refusal on the exchange, if there is one."""

    def always_allows(self, exchange: Exchange) -> bool:
        """Returns whether an invocation that has been allowed is allowed whatever its values, while the policies stay
        the same."""


class KeyHolder(Protocol):
    """Holds the access keys in force: other keys are another mapping."""

    @property
    def keys(self) -> AccessKeys: ...


class TablesInForce(Protocol):
    """Holds the limits and the policies in force: where either is another, these tables are, too."""

    @property
    def limits(self) -> Limits: ...


class NotVerified(Exception):
    """The signature does not match the body. The exchange has the refusal."""


class VerifySignature:
    """Stands where `Authenticate` stands without signatures.

    ring: has the access keys in force
    tables: returns the tables in force
    region: the Region that signatures must be scoped to
    buffers: bound the bodies of requests that are no invocation, which are read before anything is forwarded
    on_refused: called with the cause of each refusal
    authorize: called once the signature is verified; None: a verified caller may do everything
    clock: seconds since the epoch
    """

    def __init__(
        self,
        app: App,
        *,
        ring: KeyHolder,
        tables: Callable[[], TablesInForce],
        region: str,
        buffers: Buffers,
        on_refused: Callable[[str], None],
        authorize: Authorize | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        self.app = app
        self._ring = ring
        self._tables = tables
        self._region = region
        self._buffers = buffers
        self._on_refused = on_refused
        self._authorize = authorize
        self._clock = clock
        # What is kept of requests, while these keys and these tables are in force.
        self._known = KnownRequests()
        self._known_keys: AccessKeys | None = None
        self._known_tables: TablesInForce | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        exchange: Exchange = scope[EXCHANGE]
        headers = exchange.headers
        message: bytes | None = scope.get(MESSAGE)
        authorization = headers.get(b"authorization")
        length = exchange.content_length
        if message is None or authorization is None or not length:
            return self._verify_unknown(exchange, scope, receive, send)
        if self._ring.keys is not self._known_keys or self._tables() is not self._known_tables:
            self._forget()
        head = (authorization[:-SIGNATURE_LENGTH], scope["raw_path"], scope["query_string"], scope["method"], *headers)
        known = self._known.by_head.get(head)
        if known is None or len(headers) != len(scope["headers"]):
            return self._verify_unknown(exchange, scope, receive, send)
        is_valid = known.check(headers, message[-length:], authorization[-SIGNATURE_LENGTH:], self._clock())
        if not is_valid:
            if is_valid is None:
                return self._verify_unknown(exchange, scope, receive, send)
            self._refuse(exchange, MISMATCH)
            return DONE
        if known.plan is not None:
            exchange.caller = known.caller
            exchange.plan = known.plan
        elif not self._accept(known.caller, exchange, scope):
            return DONE
        return self.app(scope, receive, send)

    def _forget(self) -> None:
        """Forgets what follows from keys, limits or policies that are no longer in force."""
        self._known = KnownRequests()
        self._known_keys = self._ring.keys
        self._known_tables = self._tables()

    def _verify_unknown(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Verifies a request that has too little in common with earlier ones."""
        headers = exchange.headers
        parts = (scope["method"], scope["raw_path"], scope["query_string"], headers, scope["headers"])
        request = _new(RequestParts, parts)
        now = self._clock()
        signed = open_request(request, self._ring.keys, region=self._region, now=now)
        if isinstance(signed, SignatureProblem):
            self._refuse(exchange, signed)
            return DONE
        length = exchange.content_length
        message: bytes | None = scope.get(MESSAGE)
        if not length and b"transfer-encoding" not in headers:
            payload_hash = EMPTY_HASH
        else:
            if message is None or not length:
                return self._verify_later(signed, exchange, scope, receive, send)
            payload_hash = sha256(message[-length:]).hexdigest().encode()
        problem = signed.check(payload_hash)
        if problem is not None:
            self._refuse(exchange, problem)
            return DONE
        if not self._accept(signed.key.caller, exchange, scope):
            return DONE
        if message is not None and length:
            self._keep(request, signed, exchange, now)
        return self.app(scope, receive, send)

    def _keep(self, request: RequestParts, signed: SignedRequest, exchange: Exchange, now: float) -> None:
        """Keeps what a request that has been accepted has in common with later ones."""
        known = self._known.keep(request, signed, region=self._region, now=now)
        invocation = exchange.invocation
        if known is None or invocation is None:
            return
        has_tenants = self._tables().limits.of(invocation.function.account or known.caller.account).tenancies
        if not has_tenants and (self._authorize is None or self._authorize.always_allows(exchange)):
            known.plan = exchange.plan

    async def _verify_later(
        self, signed: SignedRequest, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Verifies a request whose body is still to come. The signature is that of the hash that the client declares,
        or else of the body itself."""
        problem = signed.check_declared()
        if problem is not None:
            self._refuse(exchange, problem)
            return
        if signed.declared is not None and not self._accept(signed.key.caller, exchange, scope):
            return
        body_hash = sha256()

        async def receive_hashed() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                body_hash.update(message.get("body", b""))
                if not message.get("more_body", False):
                    exchange.body_is_read = True
                    self._finish(signed, body_hash.hexdigest().encode(), exchange, scope)
            return message

        try:
            if exchange.invocation is not None:
                await self.app(scope, receive_hashed, send)
            else:
                await self._read_first(exchange, scope, receive_hashed, receive, send)
        except NotVerified:
            pass

    def _finish(self, signed: SignedRequest, payload_hash: bytes, exchange: Exchange, scope: Scope) -> None:
        """Verifies a request whose body has arrived. Raises `NotVerified`."""
        problem = signed.check(payload_hash)
        if problem is not None:
            self._refuse(exchange, problem)
            raise NotVerified
        if signed.declared is None and not self._accept(signed.key.caller, exchange, scope):
            raise NotVerified

    async def _read_first(
        self, exchange: Exchange, scope: Scope, receive_hashed: Receive, receive: Receive, send: Send
    ) -> None:
        """Reads the whole body of a request that is no invocation, before it is forwarded."""
        exchange.has_continued = True
        pieces: list[bytes] = []
        held = 0
        try:
            while not exchange.body_is_read:
                message = await receive_hashed()
                if message["type"] != "http.request":
                    exchange.client_is_gone = True
                    return
                piece: bytes = message.get("body", b"")
                if not self._buffers.try_reserve(len(piece)):
                    in_use, limit = self._buffers.in_use, self._buffers.ceiling
                    exchange.refuse(Refusal.BUFFERS_FULL, in_use=in_use, limit=limit)
                    return
                held += len(piece)
                pieces.append(piece)
            exchange.body_is_read = False  # for the stages that read it once more
            await self.app(scope, _Replay(b"".join(pieces), receive), send)
        finally:
            self._buffers.release(held)

    def _refuse(self, exchange: Exchange, problem: SignatureProblem) -> None:
        self._on_refused(problem.cause)
        exchange.refuse(problem.refusal, text=problem.text)

    def _accept(self, caller: Caller, exchange: Exchange, scope: Scope) -> bool:
        """Records the caller, whose signature is valid, and the plan. Returns False after a refusal."""
        exchange.caller = caller
        if self._authorize is not None and not self._authorize(exchange, scope):
            return False
        invocation = exchange.invocation
        if invocation is None:
            return True
        function = invocation.function
        account = self._tables().limits.of(function.account or caller.account)
        exchange.plan = account.plan_for(function.name, caller.access_key_id, function.qualifier)
        if account.tenancies:
            problem = account.find_tenant_problem(function.name, exchange.headers.get(TENANT_HEADER))
            if problem is not None:
                exchange.refuse(problem)
                return False
        return True


class _Replay:
    """Receives a body that has been read, and then what the client does."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        body, self._body = self._body, None
        if body is None:
            return await self._receive()
        return {"type": "http.request", "body": body, "more_body": False}
