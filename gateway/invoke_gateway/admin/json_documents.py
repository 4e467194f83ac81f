"""Reads and writes JSON documents of the admin listener."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..policy.os_text import printable_document
from ..refusals import Refusal, Rendered

# Bytes of a request's body: a hold has at most a few hundred, a fault script a few thousand.
_MOST_BYTES = 64 * 1024

# Characters of a wrong name that an error text repeats.
MOST_REPEATED = 64

Keys = Mapping[str, tuple[Any, str]]
"""The type of each key of a document, and its description."""

FUNCTION = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9._-]{1,256}\Z")]
FUNCTION_WORDS = "a plain function name (at most 256 letters, digits, hyphens, underscores and dots)"
ACCOUNT = (
    Annotated[str, msgspec.Meta(pattern=r"^[0-9]{12}\Z")],
    "a text of 12 digits; leave it out for the default account",
)


class BadDocument(Exception):
    """Raised for a document that is refused; the text names the key and the action."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


async def read_body(request: Request, what: str, at_most: str, most_bytes: int = _MOST_BYTES) -> bytes:
    """Reads the body of a request, which must be declared as JSON. `what` is named in errors. Raises `BadDocument`."""
    # A browser lets pages of any origin post forms and plain text, but sends JSON only after a preflight request, which
    # this listener never grants.
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise BadDocument(f"{what} must be JSON. Send it with Content-Type: application/json.", 415)
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > most_bytes:
                raise BadDocument(f"The body is longer than {most_bytes} bytes. Send {at_most}.", 413)
    except ClientDisconnect:
        raise BadDocument("The body ended early. Send all of it.") from None  # no client reads this
    return body


def read_object(body: bytes, example: str) -> dict[str, Any]:
    """Parses a JSON object. Raises `BadDocument` with `example` as the action."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):  # ValueError: bad UTF-8, or a number without end
        raise BadDocument(f"The body is no JSON. {example}") from None
    if not isinstance(document, dict):
        raise BadDocument(f"The body is no JSON object. {example}")
    return document


def read_values(document: Mapping[str, Any], keys: Keys, what: str, where: str = "") -> dict[str, Any]:
    """Checks and converts the values of a document. `what` and `where` appear in errors. Raises `BadDocument`."""
    return {key: _read_value(key, value, keys, what, where) for key, value in document.items()}


def _read_value(key: str, value: object, keys: Keys, what: str, where: str) -> Any:
    if key not in keys:
        # Its repr: a key may hold text that is no valid UTF-8.
        raise BadDocument(f"{what} has no key {key[:MOST_REPEATED]!r}. Its keys are {', '.join(keys)}.")
    kind, words = keys[key]
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise BadDocument(f"{where}{key} must be {words}.") from None


def answer_json(document: dict[str, object], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(document), status_code=status, headers=headers, media_type="application/json")


def encode(document: object) -> bytes:
    """Encodes a document as JSON, also with texts of the operating system that are no valid UTF-8."""
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        return msgspec.json.encode(printable_document(document))


def answer_error(text: str, status: int) -> Response:
    return answer_json({"error": text}, status)


def refuse(refusal: Refusal, **values: object) -> Rendered:
    """Renders a refusal of the listener in the shape of this listener's errors."""
    body = msgspec.json.encode({"error": refusal.message.format(**values)})
    return Rendered(refusal.status, ((b"content-type", b"application/json"),), body)
