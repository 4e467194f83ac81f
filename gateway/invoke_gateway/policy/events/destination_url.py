"""Parses the URLs of destinations and dead-letter queues.

URLs may hold passwords, so no message repeats one. `shown` is the part that people may see.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, unquote_to_bytes, urlencode, urlsplit, urlunsplit

from ..arn import DOMAINS, find_partition
from ..os_text import printable
from ..store_url import split_store_url

KINDS_IN_WORDS = "sqs+http://, sqs+https://, http://, https://, file://, redis://, rediss://, unix:// or function:"
KINDS_CURE = (
    "write sqs+https://… (a queue's URL behind sqs+), https://… (an endpoint), file:///…/name.jsonl, "
    "redis://…?stream=name, or function:name"
)

_QUEUE_CURE = "write sqs+ and the queue's URL, such as sqs+http://127.0.0.1:4566/000000000000/report-dlq"
_ENDPOINT_CURE = "write an address to POST to, such as https://hooks.example/lambda"
_FILE_CURE = "write the absolute path of a file, such as file:///var/log/invoke-gateway/report.jsonl"
_STREAM_CURE = "write redis://127.0.0.1:6379/0?stream=name, rediss://… for TLS, or unix:///run/valkey.sock?stream=name"
_FUNCTION_CURE = "write function:name, function:name:alias, or the function's ARN"

_QUEUE_PATH = re.compile(r"(?:/[^/]+)+/(?P<name>[a-zA-Z0-9_-]{1,80}|[a-zA-Z0-9_-]{1,75}\.fifo)")
_QUEUE_ARN = re.compile(r"arn:(aws[a-zA-Z-]*):sqs:([a-z0-9-]+):([0-9]{12}):([a-zA-Z0-9_.-]+)")
_DUAL_STACK_DOMAINS = (
    "api.aws",
    "api.amazonwebservices.com.cn",
    "api.amazonwebservices.eu",
    "api.aws.ic.gov",
    "api.aws.scloud",
    "api.cloud-aws.adc-e.uk",
    "api.aws.hci.ic.gov",
)
_OF_AWS = re.compile(rf"(?:.+\.)?(?:{'|'.join(map(re.escape, (*DOMAINS.values(), *_DUAL_STACK_DOMAINS)))})")
_REGION = re.compile(r"(?:^|\.)([a-z]{2,8}(?:-[a-z]+){1,3}-[0-9]{1,2})\.")
_FUNCTION = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*):lambda:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):)?function:"
    r"(?P<name>[a-zA-Z0-9._-]{1,256})(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]{1,128}))?"
)


class BadDestinationUrl(ValueError):
    """Reports a URL that is no destination. Neither text repeats the URL.

    cure: the text that corrects it
    """

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.cure = cure


class SqsTarget(NamedTuple):
    """Names an SQS queue.

    endpoint: the origin of its URL
    region: None if the host names none
    """

    url: str
    endpoint: str
    name: str
    region: str | None
    is_of_aws: bool

    @property
    def shown(self) -> str:
        return f"sqs+{self.url}"

    @property
    def is_fifo(self) -> bool:
        return self.name.endswith(".fifo")


class HttpTarget(NamedTuple):
    """Names an address that events are posted to.

    authority: the Host header
    resource: path and query
    credentials: user name and password of Basic authentication
    """

    is_tls: bool
    host: str
    port: int
    authority: str
    resource: str
    credentials: str | None

    @property
    def shown(self) -> str:
        # Not the query: it is where tokens of webhooks are.
        return f"{'https' if self.is_tls else 'http'}://{self.authority}{self.resource.partition('?')[0]}"


class FileTarget(NamedTuple):
    path: str

    @property
    def shown(self) -> str:
        return f"file://{self.path}"


class StreamTarget(NamedTuple):
    """Names a stream of one Redis or Valkey; `connection` is its URL for redis-py."""

    connection: str
    name: str
    shown: str


class FunctionTarget(NamedTuple):
    """Names a function behind this gateway. Without an ARN `account`, `region` and `partition` are None: those of the
    event."""

    account: str | None
    region: str | None
    name: str
    qualifier: str | None
    partition: str | None = None

    @property
    def shown(self) -> str:
        arn = f"arn:{self.partition}:lambda:{self.region}:{self.account}:" if self.region else ""
        return f"{arn}function:{self.name}" + (f":{self.qualifier}" if self.qualifier else "")


Destination = SqsTarget | HttpTarget | FileTarget | StreamTarget | FunctionTarget


def parse_destination_url(text: str) -> Destination:
    """Returns the destination of a URL. Raises `BadDestinationUrl`."""
    if text.startswith(("arn:", "function:")):
        return _read_function(text)
    if not text.isprintable() or " " in text:
        raise BadDestinationUrl("has blanks or characters that cannot be seen", "write them as %20 and the like")
    if "#" in text:
        raise BadDestinationUrl("has something after a #", "write a # that is meant as %23")
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is no number
    except ValueError:
        raise BadDestinationUrl("has a host or a port that is none", KINDS_CURE) from None
    read = _READERS.get(parts.scheme)
    if read is None or "://" not in text:
        raise _unknown(text, parts.scheme)
    return read(parts)


def names_function(target: str, function: str, account: str | None = None) -> bool:
    """Returns whether a destination is the function itself, whatever its qualifier. "You can't specify the function as
    a destination for itself" (Lambda's console and developer guide).

    account: the account of the function; a function of another account is another function
    """
    try:
        parsed = parse_destination_url(target)
    except BadDestinationUrl:
        return False
    if not isinstance(parsed, FunctionTarget) or parsed.name != function:
        return False
    return account is None or parsed.account is None or parsed.account == account


def _unknown(text: str, scheme: str) -> BadDestinationUrl:
    if scheme.startswith(("redis", "unix")) and "+" in scheme:
        return BadDestinationUrl("names a cluster or sentinels", f"a stream is on one server: {_STREAM_CURE}")
    if scheme == "sqs":
        return BadDestinationUrl("does not say by which protocol the queue is reached", _QUEUE_CURE)
    if text.startswith("/"):
        return BadDestinationUrl("is a path", _FILE_CURE)
    return BadDestinationUrl(f"must begin with {KINDS_IN_WORDS}", KINDS_CURE)


def _read_function(text: str) -> FunctionTarget:
    if found := _FUNCTION.fullmatch(text):
        return FunctionTarget(found["account"], found["region"], found["name"], found["qualifier"], found["partition"])
    if queue := _QUEUE_ARN.fullmatch(text):
        partition, region, account, name = queue.groups()
        domain = DOMAINS.get(partition) or DOMAINS[find_partition(region)]
        cure = f"write the queue's URL behind sqs+: sqs+https://sqs.{region}.{domain}/{account}/{name}"
        raise BadDestinationUrl("is the ARN of a queue, which does not say where it is reached", cure)
    service = text.split(":")[2] if text.startswith("arn:") and text.count(":") > 1 else ""
    if service not in ("", "lambda"):
        raise BadDestinationUrl(f"is an ARN of {service!r}, which the gateway does not deliver to", KINDS_CURE)
    raise BadDestinationUrl("names no function", _FUNCTION_CURE)


def _read_queue(parts: SplitResult) -> SqsTarget:
    if parts.username is not None:
        raise BadDestinationUrl(
            "carries a user name or password", "leave them out: requests are signed as boto3 finds keys"
        )
    path = _QUEUE_PATH.fullmatch(parts.path)
    if not parts.hostname or parts.port == 0 or path is None or parts.query:
        raise BadDestinationUrl("is not the URL of a queue", _QUEUE_CURE)
    is_of_aws = _OF_AWS.fullmatch(parts.hostname) is not None
    region = _REGION.search(parts.hostname) if is_of_aws else None
    endpoint = f"{parts.scheme.removeprefix('sqs+')}://{parts.netloc}"
    return SqsTarget(endpoint + parts.path, endpoint, path["name"], region and region[1], is_of_aws)


def _read_endpoint(parts: SplitResult) -> HttpTarget:
    if not parts.hostname or parts.port == 0:
        raise BadDestinationUrl("names no host", _ENDPOINT_CURE)
    if not urlunsplit(parts).isascii():
        raise BadDestinationUrl("has characters outside of ASCII", "write them as %C3%A4 and the like")
    secrets, at, authority = parts.netloc.rpartition("@")
    is_tls = parts.scheme == "https"
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    port = parts.port or (443 if is_tls else 80)
    return HttpTarget(is_tls, parts.hostname, port, authority, resource, unquote(secrets) if at else None)


def _read_file(parts: SplitResult) -> FileTarget:
    path = unquote_to_bytes(parts.path.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    if parts.netloc not in ("", "localhost"):
        raise BadDestinationUrl("has a path that is not absolute", f"{_FILE_CURE}, with three slashes")
    if parts.query or path.endswith("/") or not path.startswith("/") or not printable(path).isprintable():
        raise BadDestinationUrl("names no file", _FILE_CURE)
    return FileTarget(path)


def _read_stream(parts: SplitResult) -> StreamTarget:
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    name = query.pop("stream", "")
    if not name:
        raise BadDestinationUrl("does not say which stream", _STREAM_CURE)
    try:
        store = split_store_url(urlunsplit(parts._replace(query="")))
    except ValueError:
        raise BadDestinationUrl("names no host", _STREAM_CURE) from None
    is_socket = parts.scheme == "unix"
    if is_socket and not parts.path.strip("/"):
        raise BadDestinationUrl("names no socket", f"{_STREAM_CURE}, with three slashes")
    if len(store.hosts) > 1:
        raise BadDestinationUrl("names several hosts", f"a stream is on one server: {_STREAM_CURE}")
    if store.database and not (store.database.isascii() and store.database.isdecimal()):
        raise BadDestinationUrl("has something after the host that is not the number of a database", _STREAM_CURE)
    connection = urlunsplit(parts._replace(query=urlencode(query)))
    # urlunsplit drops an empty host, and redis-py reads unix: by its slashes.
    connection = connection if "://" in connection else connection.replace(":", "://", 1)
    return StreamTarget(connection, name, f"{store.where}?{urlencode({'stream': name})}")


_READERS: Mapping[str, Callable[[SplitResult], Destination]] = {
    "sqs+http": _read_queue,
    "sqs+https": _read_queue,
    "http": _read_endpoint,
    "https": _read_endpoint,
    "file": _read_file,
    "redis": _read_stream,
    "rediss": _read_stream,
    "unix": _read_stream,
}
