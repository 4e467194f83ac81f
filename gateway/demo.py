"""The embedded demo backend: five functions behind Lambda's Invoke API, as one small ASGI application.

    echo    returns its event, byte for byte
    sleep   {"seconds": s}: waits (1 second by default), returns {"slept": s}
    fail    ends in a function error
    blob    {"bytes": n}: returns a JSON string of exactly n bytes, its quotes included (1,024 by default)
    stream  {"chunks": c, "bytes": b, "seconds": s}: writes a JSON string of c × b bytes in c chunks, s
            seconds apart (by default 3 chunks of 1,024 bytes at once)

It exists for newcomers and load tests: it does as Lambda does where a client or the gateway can tell
(headers, shapes of errors, invocation types), and it is cheap. Any qualifier is taken for an alias of
$LATEST.
"""

from __future__ import annotations

import asyncio
import base64
import re
import uuid
from collections.abc import AsyncIterator, Callable
from time import perf_counter
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta, Struct

from gateway import eventstream
from gateway.asgi import Receive, Scope, Send
from gateway.policy.json_text import find_json_error

# ---- the functions ---------------------------------------------------------------------------------------

_LONGEST_RUN = 900  # seconds; Lambda's longest time-out
_LARGEST_RESULT = 268_435_456  # bytes; a plain Invoke holds its result whole, so it needs some bound
_BLOCK = b"x" * 1_048_576

_Seconds = Annotated[int, Meta(ge=0, le=_LONGEST_RUN)] | Annotated[float, Meta(ge=0, le=_LONGEST_RUN)]


class SleepEvent(Struct):
    seconds: _Seconds = 1


class BlobEvent(Struct):
    bytes: Annotated[int, Meta(ge=2, le=_LARGEST_RESULT)] = 1_024


class StreamEvent(Struct):
    chunks: Annotated[int, Meta(ge=1, le=1_000_000)] = 3
    bytes: Annotated[int, Meta(ge=2, le=len(_BLOCK))] = 1_024
    seconds: _Seconds = 0

    def __post_init__(self) -> None:
        if self.chunks * self.bytes > _LARGEST_RESULT:
            raise ValueError(f"Expected at most {_LARGEST_RESULT} bytes in all")
        if (self.chunks - 1) * self.seconds > _LONGEST_RUN:
            raise ValueError(f"Expected pauses of at most {_LONGEST_RUN} seconds in all")


_SLEEP_EVENT = msgspec.json.Decoder(SleepEvent)
_BLOB_EVENT = msgspec.json.Decoder(BlobEvent)
_STREAM_EVENT = msgspec.json.Decoder(StreamEvent)

_Event = TypeVar("_Event")
Function = Callable[[bytes], AsyncIterator[bytes]]


class FunctionError(Exception):
    """A function ended in an error: a 200 with `X-Amz-Function-Error`, and this as its payload."""

    def __init__(self, type_: str, message: str) -> None:
        super().__init__(message)
        self.type = type_

    def payload(self, request_id: str) -> bytes:
        return msgspec.json.encode(
            {
                "errorMessage": str(self),
                "errorType": self.type,
                "requestId": request_id,
                "stackTrace": ['  File "/var/task/demo.py", in handler\n'],
            }
        )


class Functions:
    """The five functions, by name. Each takes a JSON text and yields its result, another, in pieces."""

    def __init__(self) -> None:
        self.by_name: dict[str, Function] = {
            "echo": self._echo,
            "sleep": self._sleep,
            "fail": self._fail,
            "blob": self._blob,
            "stream": self._stream,
        }
        self._sleepers: set[asyncio.Future[None]] = set()
        self._is_stopping = False

    def __repr__(self) -> str:
        return f"<Functions sleeping={len(self._sleepers)}>"

    def start(self) -> None:
        self._is_stopping = False

    def stop(self) -> None:
        """Wake what sleeps, and what will, with a FunctionError. May be called twice."""
        self._is_stopping = True
        for waking in self._sleepers:
            if not waking.done():
                waking.set_exception(_stopping())

    async def _echo(self, event: bytes) -> AsyncIterator[bytes]:
        yield event

    async def _sleep(self, event: bytes) -> AsyncIterator[bytes]:
        seconds = _parse_event(_SLEEP_EVENT, event).seconds
        await self._pause(seconds)
        yield msgspec.json.encode({"slept": seconds})

    def _fail(self, event: bytes) -> AsyncIterator[bytes]:
        raise FunctionError("DemoError", "The function fail fails.")

    async def _blob(self, event: bytes) -> AsyncIterator[bytes]:
        inside = _parse_event(_BLOB_EVENT, event).bytes - 2
        if inside <= len(_BLOCK) - 2:
            yield b'"%b"' % _BLOCK[:inside]
            return
        yield b'"'
        for start in range(0, inside, len(_BLOCK)):
            yield _BLOCK[: inside - start]
        yield b'"'

    async def _stream(self, event: bytes) -> AsyncIterator[bytes]:
        wanted = _parse_event(_STREAM_EVENT, event)
        for number in range(wanted.chunks):
            if number:
                await self._pause(wanted.seconds)
            chunk = bytearray(_BLOCK[: wanted.bytes])
            if number == 0:
                chunk[0:1] = b'"'
            if number == wanted.chunks - 1:
                chunk[-1:] = b'"'
            yield bytes(chunk)

    async def _pause(self, seconds: float) -> None:
        if not seconds:
            return
        if self._is_stopping:
            raise _stopping()
        loop = asyncio.get_running_loop()
        waking: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _wake, waking)
        self._sleepers.add(waking)
        try:
            await waking
        finally:
            timer.cancel()
            self._sleepers.discard(waking)


def _wake(waking: asyncio.Future[None]) -> None:
    if not waking.done():
        waking.set_result(None)


def _stopping() -> FunctionError:
    return FunctionError("Runtime.ExitError", "The demo backend is stopping.")


def _parse_event(decoder: msgspec.json.Decoder[_Event], event: bytes) -> _Event:
    try:
        return decoder.decode(event)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FunctionError("InvalidEvent", f"The event does not suit the function: {error}") from error


# ---- the API ---------------------------------------------------------------------------------------------


class _Operation(NamedTuple):
    """The fixed beginning and end of the operation's path, and the invocation types it knows."""

    prefix: str
    suffix: str
    types: tuple[bytes, ...]


_FUNCTIONS = "/2015-03-31/functions"
_INVOKE = _Operation(_FUNCTIONS + "/", "/invocations", (b"Event", b"RequestResponse", b"DryRun"))
_INVOKE_WITH_RESPONSE_STREAM = _Operation(
    "/2021-11-15/functions/", "/response-streaming-invocations", (b"RequestResponse", b"DryRun")
)
_INVOKE_ASYNC = _Operation("/2014-11-13/functions/", "/invoke-async", (b"Event",))
_OPERATIONS = (_INVOKE, _INVOKE_WITH_RESPONSE_STREAM, _INVOKE_ASYNC)

_REQUEST_ID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_JSON = (b"content-type", b"application/json")
_EVENT_STREAM = (b"content-type", eventstream.CONTENT_TYPE.encode())
_EXECUTED_VERSION = (b"x-amz-executed-version", b"$LATEST")
_NO_BODY = (b"content-length", b"0")

Headers = tuple[tuple[bytes, bytes], ...]


class _Name(NamedTuple):
    """A function's name as a path gives it: a name or an ARN, partial or full, perhaps with a qualifier."""

    name: str
    qualifier: str | None = None
    account: str | None = None
    region: str | None = None

    @classmethod
    def parse(cls, text: str) -> _Name:
        """What is no name is taken whole: there is no such function either."""
        parts = _NAME.fullmatch(text)
        return cls(**parts.groupdict()) if parts else cls(text)


# The service model's pattern of a function name, with a group for each part.
_NAME = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:)?(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?(?:function:)?(?P<name>[a-zA-Z0-9_.-]+)"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]+))?"
)


class DemoBackend:
    """The ASGI application; `region` and `account` are those of its functions' ARNs.

    The lifespan stops it, or `await aclose()` where there is none. `close()` alone ends what sleeps, with a
    function error: for a server that, before its lifespan ends, waits for the responses it owes.
    """

    def __init__(self, *, region: str = "us-east-1", account: str = "000000000000") -> None:
        self._region = region
        self._account = account
        self._functions = Functions()
        self._events: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<DemoBackend {self._functions!r} events={len(self._events)}>"

    def close(self) -> None:
        self._functions.stop()

    async def aclose(self) -> None:
        """`close()`, and wait until what was invoked as an Event has ended."""
        self.close()
        while self._events:
            await asyncio.wait(self._events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # Read first: an answer to an unfinished upload may reach the client as a broken pipe.
            body = await _read(receive)
            if body is not None:
                await self._answer(scope, body, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._functions.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, body: bytes, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        headers = dict(scope["headers"])
        reply = _Reply(send, headers.get(b"x-amzn-requestid", b""))
        if method == "POST":
            for operation in _OPERATIONS:
                if path.endswith(operation.suffix) and path.startswith(operation.prefix):
                    name = path[len(operation.prefix) : -len(operation.suffix)]
                    await self._invoke(operation, name, scope["query_string"], headers, body, reply)
                    return
        elif method == "GET" and path.rstrip("/") == _FUNCTIONS:
            await reply.json(200, {"Functions": [self._describe(name) for name in self._functions.by_name]})
            return
        elif method == "GET" and path.startswith(_FUNCTIONS + "/") and "/" not in path[len(_FUNCTIONS) + 1 :]:
            await self._get(path[len(_FUNCTIONS) + 1 :], reply)
            return
        names = ", ".join(self._functions.by_name)
        await reply.not_found(
            f"{method} {path} is not an operation of this demo backend. It invokes five functions ({names}) "
            "by Invoke, InvokeWithResponseStream and InvokeAsync, and lists them."
        )

    async def _invoke(
        self,
        operation: _Operation,
        name: str,
        query: bytes,
        headers: dict[bytes, bytes],
        body: bytes,
        reply: _Reply,
    ) -> None:
        invocation_type = headers.get(b"x-amz-invocation-type") or b"RequestResponse"
        if operation is _INVOKE_ASYNC:
            invocation_type = b"Event"
        function = self._functions.by_name.get(name) or self._functions.by_name.get(_Name.parse(name).name)
        event = body or b"{}"
        if invocation_type not in operation.types:
            await reply.json(400, _invalid_type(invocation_type, operation.types), "ValidationException")
        elif function is None:
            asked = parse_qs(query.decode("latin-1")).get("Qualifier")
            qualifier = asked[0] if asked else _Name.parse(name).qualifier or "$LATEST"
            await reply.not_found(f"Function not found: {self._arn(name)}:{qualifier}")
        elif reason := find_json_error(event):
            text = f"Could not parse request body into json: Could not parse payload into json: {reason}"
            await reply.json(400, {"Type": "User", "message": text}, "InvalidRequestContentException")
        elif invocation_type == b"DryRun":
            await reply.whole(204, ())
        elif invocation_type == b"Event":
            self._start(function, event)
            await reply.whole(202, (_NO_BODY,))
        else:
            run = _run_streamed if operation is _INVOKE_WITH_RESPONSE_STREAM else _run
            await run(function, event, reply, headers.get(b"x-amz-log-type") == b"Tail")

    def _start(self, function: Function, event: bytes) -> None:
        task = asyncio.create_task(_run_to_end(function, event))
        self._events.add(task)
        task.add_done_callback(self._events.discard)

    async def _get(self, name: str, reply: _Reply) -> None:
        if (short := _Name.parse(name).name) in self._functions.by_name:
            await reply.json(200, {"Configuration": self._describe(short)})
        else:  # unlike Invoke's, this text has no $LATEST
            await reply.not_found(f"Function not found: {self._arn(name)}")

    def _arn(self, name: str) -> str:
        parts = _Name.parse(name)
        region, account = parts.region or self._region, parts.account or self._account
        return f"arn:aws:lambda:{region}:{account}:function:{parts.name}"

    def _describe(self, name: str) -> dict[str, Any]:
        """The least FunctionConfiguration that the CLI and SDK waiters are content with."""
        return {
            "FunctionName": name,
            "FunctionArn": self._arn(name),
            "Version": "$LATEST",
            "Description": "Function of the embedded demo backend",
            "Timeout": _LONGEST_RUN,
            "State": "Active",
            "LastUpdateStatus": "Successful",
        }


# ---- running a function for a caller ---------------------------------------------------------------------


async def _run_to_end(function: Function, event: bytes) -> None:
    try:
        async for _ in function(event):
            pass
    except FunctionError:
        pass  # nobody waits for the result of an Event


async def _run(function: Function, event: bytes, reply: _Reply, is_log_wanted: bool) -> None:
    began = perf_counter()
    headers: Headers = (_JSON, _EXECUTED_VERSION)
    try:
        result = b"".join([piece async for piece in function(event)])
    except FunctionError as error:
        result = error.payload(reply.request_id)
        headers += ((b"x-amz-function-error", b"Unhandled"),)
    if is_log_wanted:
        headers += ((b"x-amz-log-result", _log(reply.request_id, perf_counter() - began).encode()),)
    await reply.whole(200, (*headers, (b"content-length", b"%d" % len(result))), result)


async def _run_streamed(function: Function, event: bytes, reply: _Reply, is_log_wanted: bool) -> None:
    """As Lambda streams: an error of the function comes in the last message, after a 200."""
    began = perf_counter()
    await reply.begin(200, (_EVENT_STREAM, _EXECUTED_VERSION))
    complete: dict[str, str] = {}
    try:
        async for piece in function(event):
            chunk = eventstream.encode(eventstream.PAYLOAD_CHUNK, piece, "application/octet-stream")
            await reply.write(chunk, more=True)
    except FunctionError as error:
        complete = {"ErrorCode": error.type, "ErrorDetails": error.payload(reply.request_id).decode()}
    if is_log_wanted:
        complete["LogResult"] = _log(reply.request_id, perf_counter() - began)
    payload = msgspec.json.encode(complete)
    await reply.write(eventstream.encode(eventstream.INVOKE_COMPLETE, payload, "application/json"), more=False)


def _log(request_id: str, seconds: float) -> str:
    text = (
        f"START RequestId: {request_id} Version: $LATEST\n"
        f"END RequestId: {request_id}\n"
        f"REPORT RequestId: {request_id}\tDuration: {seconds * 1000:.2f} ms\n"
    )
    return base64.b64encode(text.encode()).decode()


def _invalid_type(invocation_type: bytes, known: tuple[bytes, ...]) -> dict[str, str]:
    names = ", ".join(name.decode() for name in known)
    # Unlike other errors of the caller's, this one has no Type.
    value = invocation_type.decode("latin-1")
    return {
        "message": f"1 validation error detected: Value '{value}' at 'invocationType' failed to satisfy "
        f"constraint: Member must satisfy enum value set: [{names}]"
    }


# ---- plumbing --------------------------------------------------------------------------------------------


class _Reply:
    """One response; every one carries `x-amzn-RequestId`, the caller's own if it is a UUID."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        own = request_id if _REQUEST_ID.fullmatch(request_id) else str(uuid.uuid4()).encode()
        self.request_id = own.decode()
        self._headers: Headers = ((b"x-amzn-requestid", own),)

    async def begin(self, status: int, headers: Headers) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": [*self._headers, *headers]})

    async def write(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def whole(self, status: int, headers: Headers, body: bytes = b"") -> None:
        await self.begin(status, headers)
        await self.write(body, more=False)

    async def json(self, status: int, value: object, error_type: str | None = None) -> None:
        body = msgspec.json.encode(value)
        headers: Headers = (_JSON, (b"content-length", b"%d" % len(body)))
        if error_type:
            headers += ((b"x-amzn-errortype", error_type.encode()),)
        await self.whole(status, headers, body)

    async def not_found(self, text: str) -> None:
        await self.json(404, {"Type": "User", "Message": text}, "ResourceNotFoundException")


async def _read(receive: Receive) -> bytes | None:
    """The whole body, or None when the client left before its end."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return bytes(message.get("body", b""))
    pieces: list[bytes] = []
    while message["type"] == "http.request":
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)
        message = await receive()
    return None
