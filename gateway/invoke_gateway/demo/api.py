"""Serves the demo functions by Lambda's Invoke API: paths, invocation types and headers."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec

from invoke_gateway import eventstream
from invoke_gateway.asgi import Receive, Scope, Send
from invoke_gateway.demo.functions import LONGEST_RUN, DemoFunctionError, Function, Functions
from invoke_gateway.demo.overlap import Overlap
from invoke_gateway.demo.reply import JSON, DemoReply, Headers, read_body
from invoke_gateway.policy.arn import find_partition
from invoke_gateway.policy.payloads.json_text import find_json_error


class _Operation(NamedTuple):
    """Describes an operation: the fixed beginning and end of its path, and its invocation types."""

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

_EVENT_STREAM = (b"content-type", eventstream.CONTENT_TYPE.encode())
_EXECUTED_VERSION = (b"x-amz-executed-version", b"$LATEST")
_NO_BODY = (b"content-length", b"0")


class _Name(NamedTuple):
    """Holds a function's name as a path gives it: a name or an ARN, partial or full, perhaps with a qualifier."""

    name: str
    qualifier: str | None = None
    account: str | None = None
    region: str | None = None
    partition: str | None = None

    @classmethod
    def parse(cls, text: str) -> _Name:
        """Parses a name; a text that is no name is taken whole, because no function has it."""
        parts = _NAME.fullmatch(text)
        return cls(**parts.groupdict()) if parts else cls(text)


# The service model's pattern of a function name, with a group for each part.
_NAME = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*):lambda:)?(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?(?:function:)?(?P<name>[a-zA-Z0-9_.-]+)"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]+))?"
)


class DemoBackend:
    """Serves the functions as an ASGI application; `region` and `account` are those of their ARNs.

    The lifespan stops the application, or `await aclose()` where there is no lifespan. `close()` alone ends sleeping
    functions with a function error: for a server that completes its responses before the lifespan ends.
    """

    def __init__(self, *, region: str = "us-east-1", account: str = "000000000000") -> None:
        self._region = region
        self._account = account
        self._functions = Functions()
        self._overlap = Overlap()
        self._events: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<DemoBackend {self._functions!r} events={len(self._events)}>"

    def close(self) -> None:
        self._functions.stop()

    async def aclose(self) -> None:
        """Closes the backend, and waits until its Events have ended."""
        self.close()
        while self._events:
            await asyncio.wait(self._events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # Read first: a response to an unfinished upload may reach the client as a broken pipe.
            body = await read_body(receive)
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
        reply = DemoReply(send, headers.get(b"x-amzn-requestid", b""))
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
        reply: DemoReply,
    ) -> None:
        invocation_type = headers.get(b"x-amz-invocation-type") or b"RequestResponse"
        if operation is _INVOKE_ASYNC:
            invocation_type = b"Event"
        short = name if name in self._functions.by_name else _Name.parse(name).name
        function = self._functions.find(short)
        event = body or b"{}"
        if invocation_type not in operation.types:
            await reply.json(400, _invalid_type(invocation_type, operation.types), "ValidationException")
        elif function is None:
            qualifiers = parse_qs(query.decode("latin-1")).get("Qualifier")
            qualifier = qualifiers[0] if qualifiers else _Name.parse(name).qualifier or "$LATEST"
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
            with self._overlap.running(short) as overlap:
                reply.add(overlap.header)
                await run(function, event, reply, headers.get(b"x-amz-log-type") == b"Tail", overlap.end)

    def _start(self, function: Function, event: bytes) -> None:
        task = asyncio.create_task(_run_to_end(function, event))
        self._events.add(task)
        task.add_done_callback(self._events.discard)

    async def _get(self, name: str, reply: DemoReply) -> None:
        if self._functions.find(short := _Name.parse(name).name):
            await reply.json(200, {"Configuration": self._describe(short)})
        else:  # unlike Invoke's, this text has no $LATEST
            await reply.not_found(f"Function not found: {self._arn(name)}")

    def _arn(self, name: str) -> str:
        parts = _Name.parse(name)
        region, account = parts.region or self._region, parts.account or self._account
        return f"arn:{parts.partition or find_partition(region)}:lambda:{region}:{account}:function:{parts.name}"

    def _describe(self, name: str) -> dict[str, Any]:
        """Returns the smallest FunctionConfiguration that the CLI and SDK waiters accept."""
        return {
            "FunctionName": name,
            "FunctionArn": self._arn(name),
            "Version": "$LATEST",
            "Description": "Function of the embedded demo backend",
            "Timeout": LONGEST_RUN,
            "State": "Active",
            "LastUpdateStatus": "Successful",
        }


# ---- running a function for a caller ---------------------------------------------------------------------


async def _run_to_end(function: Function, event: bytes) -> None:
    try:
        async for _ in function(event):
            pass
    except DemoFunctionError:
        pass  # no client waits for the result of an Event


async def _run(
    function: Function, event: bytes, reply: DemoReply, is_log_wanted: bool, end: Callable[[], None]
) -> None:
    """Runs a function and sends its result. `end` is called before anything of the response is written."""
    began = perf_counter()
    headers: Headers = (JSON, _EXECUTED_VERSION)
    try:
        result = b"".join([piece async for piece in function(event)])
    except DemoFunctionError as error:
        result = error.payload(reply.request_id)
        headers += ((b"x-amz-function-error", b"Unhandled"),)
    if is_log_wanted:
        headers += ((b"x-amz-log-result", _log(reply.request_id, perf_counter() - began).encode()),)
    end()
    await reply.whole(200, (*headers, (b"content-length", b"%d" % len(result))), result)


async def _run_streamed(
    function: Function, event: bytes, reply: DemoReply, is_log_wanted: bool, end: Callable[[], None]
) -> None:
    """Streams as Lambda does: an error of the function is sent in the last message, after a 200. `end` is called before
    it."""
    began = perf_counter()
    await reply.begin(200, (_EVENT_STREAM, _EXECUTED_VERSION))
    complete: dict[str, str] = {}
    try:
        async for piece in function(event):
            chunk = eventstream.encode(eventstream.PAYLOAD_CHUNK, piece, "application/octet-stream")
            await reply.write(chunk, more=True)
    except DemoFunctionError as error:
        complete = {"ErrorCode": error.type, "ErrorDetails": error.payload(reply.request_id).decode()}
    if is_log_wanted:
        complete["LogResult"] = _log(reply.request_id, perf_counter() - began)
    payload = msgspec.json.encode(complete)
    end()
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
