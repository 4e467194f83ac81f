"""What one value may look like: its type, its bounds, and the words that say so to whoever got it wrong."""

import re
import ssl
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from invoke_gateway.policy.destination_url import KINDS_CURE, KINDS_IN_WORDS, BadDestinationUrl, parse_destination_url
from invoke_gateway.policy.store_url import SCHEMES, find_file_path, split_store_url

HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([A-Za-z0-9._*-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,9}))?([/?#].*)?")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
EVERYWHERE = frozenset({"0.0.0.0", "::"})
HIGHEST_PORT = 65535
MOST = 1_000_000_000  # slots or things: far above any use, low enough for every sum of them
MOST_BYTES = 2**50
A_DAY = 86_400  # seconds; longer than any invocation may take, and within what event loops can schedule


@dataclass(frozen=True, slots=True)
class Words:
    """How a kind of value is described in a message: "must be {expected}"."""

    expected: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; `str()` gives host:port, with an IPv6 host in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def is_reached_by(self, url: str) -> bool:
        """Whether a request to this http or https URL would arrive here, as far as names alone can tell."""
        parts = urlsplit(url)
        if not self.port or self.port != (parts.port or {"http": 80, "https": 443}.get(parts.scheme)):
            return False
        host = parts.hostname or ""
        return host == self.host or (host in LOOPBACK and self.host in LOOPBACK | EVERYWHERE)


def complaint(message: str, cure: str, at: str = "") -> PydanticCustomError:
    """What a validator raises: both texts reach the user as they are; `at` names the key below, if any."""
    return PydanticCustomError("complaint", "{message}", {"message": message, "cure": cure, "at": at})


def read_address(value: object) -> Address:
    """The address in a host:port text."""
    if isinstance(value, Address):
        return value
    example = "write host:port, such as 127.0.0.1:9001"
    if not isinstance(value, str):
        raise complaint("must be host:port", f"{example}; quotes are needed around [::1]:9001")
    host, colon, port = value.rpartition(":")
    if not colon or not host:
        raise complaint(f"must be host:port; it is {value!r}", f"{example}, or 0.0.0.0:9001 for every interface")
    if not (port.isascii() and port.isdecimal() and int(port[:6]) <= HIGHEST_PORT and len(port) <= 5):
        raise complaint(f"has the port {port!r}; a port is a number from 0 to 65535", example)
    return Address(_read_host(host), int(port))


def _read_host(text: str) -> str:
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    is_ipv6 = _is_ipv6(host)
    if is_ipv6 and host == text:
        raise complaint(f"has the IPv6 host {host} without brackets", f"write [{host}]:9001, in quotes")
    if not is_ipv6 and (host != text or not HOST_NAME.fullmatch(host)):
        raise complaint(f"has the host {text!r}, which is no name or address", "give a name or address")
    return host


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def read_backend_url(url: str) -> str:
    """The origin without a closing slash, or the word `demo`."""
    if url == "demo":
        return url
    cure = "give an origin such as http://127.0.0.1:4566, or the word demo"
    try:
        parts = urlsplit(url)
        port_is_usable = parts.port != 0
    except ValueError:
        raise complaint("is no URL", cure) from None
    # Not repeated in the message: what stands before the @ may be a password.
    if parts.username is not None or parts.password is not None:
        raise complaint("carries a user name or password", "leave them out: requests are forwarded as signed")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_usable or not url.isprintable():
        raise complaint(f"must be an http or https origin; it is {url!r}", cure)
    if parts.path not in ("", "/") or parts.query or parts.fragment or " " in url:
        origin = f"{parts.scheme}://{parts.netloc}".strip()
        raise complaint("has something after the host", f"write {origin}: paths are forwarded as they come")
    return f"{parts.scheme}://{parts.netloc}"


def read_origin(origin: str) -> str:
    """Accepts an origin of web pages as browsers send it in the Origin header, or `*`."""
    if origin == "*":
        return origin
    if origin == "null":
        raise complaint(
            "is null, the origin of every sandboxed page and every file",
            "serve the page by a web server and give its origin, or allow every origin with *",
        )
    cure = "give it as browsers send it, such as http://localhost:3000 or https://app.example.com"
    if "@" in origin:  # not repeated: what stands before it may be a password
        raise complaint("carries a user name or password", cure)
    found = _ORIGIN.fullmatch(origin)
    if found is None or not origin.isascii() or not origin.isprintable():
        raise complaint(f"must be an origin: a scheme, a host, and a port if there is one; it is {origin!r}", cure)
    scheme, host, port, rest = found.groups()
    if "*" in host:
        raise complaint(f"has a wildcard in {origin}", "list each origin, or allow every origin with *")
    if port is not None and not 0 < int(port[:6]) <= HIGHEST_PORT:
        raise complaint(f"has the port {port}; a port is a number from 1 to 65535", cure)
    usual = {"http": "80", "https": "443"}.get(scheme.lower())
    written = f"{scheme}://{host}".lower() + (f":{int(port)}" if port is not None and port != usual else "")
    if rest:
        raise complaint(f"has something after the host in {origin}", f"write {written}: browsers send no path")
    if written != origin:
        raise complaint(f"is {origin}, which no browser sends", f"write {written}: lower case, without the usual port")
    return origin


def read_counters_url(url: str) -> str:
    """The word `memory`, or the URL of a Redis or Valkey: of one server, of its sentinels, or of a cluster."""
    if url == "memory":
        return url
    scheme = url.partition("://")[0]
    cure = _COUNTERS_CURES.get(scheme.rpartition("+")[2], _COUNTERS_CURE)
    # The URL is not repeated: it may hold a password.
    if "://" not in url or scheme not in SCHEMES:
        raise complaint(f"must be memory, or a URL that begins with {_SCHEMES_IN_WORDS}", cure)
    if "#" in url:
        raise complaint("has something after a #", "write a # in a password as %23")
    if scheme == "unix":
        if not urlsplit(url).path.strip("/"):
            raise complaint("names no socket", "write unix:///run/valkey.sock, with three slashes")
        return url
    if not url.isprintable() or " " in url:
        raise complaint("has blanks or characters that cannot be seen", cure)
    try:
        store = split_store_url(url)
    except ValueError:
        raise complaint("names no host or has a port that is none", cure) from None
    if len(store.hosts) > 1 and store.kind == "server":
        raise complaint("names several hosts", "write redis+sentinel:// or redis+cluster:// for what they are")
    if store.kind == "sentinel" and not store.service:
        raise complaint("does not say what the sentinels call the primary", cure)
    if store.database and not (store.database.isascii() and store.database.isdecimal()):
        raise complaint("has something after the host that is not the number of a database", cure)
    if store.kind == "cluster" and store.database.strip("0"):
        raise complaint("names a database, and a cluster has only 0", cure)
    return url


_COUNTERS_CURE = "write redis://127.0.0.1:6379/0, rediss://… for TLS, unix:///run/valkey.sock, or the word memory"
_COUNTERS_CURES = {
    "sentinel": "write redis+sentinel://sentinel1:26379,sentinel2:26379,sentinel3:26379/mymaster/0",
    "cluster": "write redis+cluster://node1:6379,node2:6379,node3:6379",
}
_SCHEMES_IN_WORDS = "redis://, rediss://, redis+sentinel://, redis+cluster:// or unix://"


_EVENT_SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "unix")


def read_event_store_url(url: str) -> str:
    """The URL of a SQLite file, by its absolute path, or of one Redis or Valkey, or of its sentinels."""
    cure = "write sqlite:///var/lib/invoke-gateway/queue.db, redis://127.0.0.1:6379/0 or unix:///run/valkey.sock"
    scheme, colon, rest = url.partition("://")
    if scheme == "sqlite" and colon:
        try:
            path = find_file_path(url)
        except ValueError as error:
            raise complaint(f"names no file: {error}", cure) from None
        if not path.startswith("/") or path.endswith("/") or not rest.isprintable():
            raise complaint("does not name a file by its absolute path", cure)
        return url
    if scheme not in _EVENT_SCHEMES or not colon:
        raise complaint("must begin with sqlite:///, redis://, rediss://, redis+sentinel:// or unix://", cure)
    return read_counters_url(url)


def read_target_url(url: str) -> str:
    """Where what became of an asynchronous invocation is told."""
    try:
        parse_destination_url(url)
    except BadDestinationUrl as bad:
        raise complaint(str(bad), bad.cure) from None
    return url


def read_file_name(name: str) -> str:
    """The name of a file that can be opened for reading."""
    try:
        with Path(name).open("rb"):
            return name
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise complaint(f"cannot read {name!r}: {reason}", "give a file that the gateway may read") from None


def find_certificate_mistake(certificate: str, key: str) -> str | None:
    """Why the two PEM files cannot serve TLS, or None when they can."""

    def no_passphrase() -> str:
        raise PermissionError("the key is protected by a passphrase")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_passphrase)
    except (OSError, ValueError) as error:
        return f"certificate and key cannot be used: {getattr(error, 'reason', None) or error}"
    return None


def read_authority_file(name: str) -> str:
    """The name of a PEM file of certificates."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(read_file_name(name))
    except OSError:
        raise complaint(f"{name!r} holds no PEM certificate", "give the authorities' certificates as PEM") from None
    return name


def refuse_displayed_account(account: str) -> str:
    """Any account but 000000000000."""
    if account == "000000000000":
        raise complaint("is how the account `default` is shown", "write default instead of 000000000000")
    return account


def read_bare_off(value: object) -> object:
    """YAML 1.1 reads a bare `off` as false."""
    return "off" if value is False else value


Switch = Annotated[bool, Field(strict=True), Words("true or false")]
Count = Annotated[int, Field(strict=True, ge=0, le=MOST), Words("a whole number from 0 to 1000000000")]
PositiveCount = Annotated[int, Field(strict=True, ge=1, le=MOST), Words("a whole number from 1 to 1000000000")]
WorkerCount = Annotated[int, Field(strict=True, ge=1, le=256), Words("a whole number from 1 to 256")]
Bytes = Annotated[int, Field(strict=True, ge=1, le=MOST_BYTES), Words("a whole number of bytes, at least 1")]
Seconds = Annotated[
    float,
    Field(strict=True, gt=0, le=A_DAY, allow_inf_nan=False),
    Words("a number of seconds above 0, at most 86400 (a day)"),
]
SecondsOrNone = Annotated[
    float,
    Field(strict=True, ge=0, le=A_DAY, allow_inf_nan=False),
    Words("a number of seconds from 0 to 86400 (a day)"),
]
Rate = Annotated[float, Field(strict=True, ge=0, le=MOST, allow_inf_nan=False)]
RequestRate = Annotated[
    Literal["auto", "off"] | Rate,
    BeforeValidator(read_bare_off),
    Words("auto, off, or a number of requests per second, 0 or more"),
]
CallerRequestRate = Annotated[
    Literal["off"] | Rate,
    BeforeValidator(read_bare_off),
    Words("off, or a number of requests per second, 0 or more"),
]
ListenAddress = Annotated[
    Address, PlainValidator(read_address, json_schema_input_type=str), PlainSerializer(str, return_type=str)
]
BackendUrl = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_backend_url),
    Words("an http or https origin, or the word demo"),
]
ReadableFile = Annotated[str, Field(strict=True), AfterValidator(read_file_name), Words("the name of a file")]
AuthorityFile = Annotated[str, Field(strict=True), AfterValidator(read_authority_file), Words("the name of a PEM file")]
CountersUrl = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_counters_url),
    Words("memory, or a redis://, rediss://, redis+sentinel://, redis+cluster:// or unix:// URL"),
]
EventStoreUrl = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_event_store_url),
    Words("a sqlite:///path, redis://, rediss://, redis+sentinel:// or unix:// URL"),
]
RetryAttempts = Annotated[int, Field(strict=True, ge=0, le=2), Words("0, 1 or 2")]
EventAge = Annotated[int, Field(strict=True, ge=60, le=21_600), Words("a whole number of seconds from 60 to 21600")]
Delays = Annotated[
    tuple[Seconds, ...],
    Field(min_length=1, max_length=10),
    Words("a list of one to ten numbers of seconds, such as [60, 120]"),
]
TargetUrl = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_target_url),
    Words(f"a text that begins with {KINDS_IN_WORDS}", KINDS_CURE),
]
LeaseSeconds = Annotated[
    float,
    Field(strict=True, ge=0.5, le=3600, allow_inf_nan=False),
    Words("a number of seconds from 0.5 to 3600"),
]
Origin = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_origin),
    Words("an origin such as http://localhost:3000, or *"),
]
Origins = Annotated[
    tuple[Origin, ...],
    Words('a list of origins, such as [http://localhost:3000], or ["*"]'),
]
Region = Annotated[
    str,
    Field(strict=True, pattern=r"^[a-z]{2,8}(-[a-z]{1,16}){1,3}-[0-9]{1,2}$"),
    Words("an AWS Region such as us-east-1"),
]
# No validator of ours here: with a million functions, loading would spend its time calling it.
FunctionName = Annotated[
    str,
    Field(strict=True, pattern=r"^[a-zA-Z0-9._-]{1,256}$"),
    Words(
        "a plain function name: letters, digits, hyphens, underscores and dots",
        "leave out ARN, version and alias: all versions of a function share its limits",
    ),
]
NamedAccount = Annotated[
    str,
    Field(strict=True, pattern=r"^[0-9]{12}$"),
    Words("a 12-digit account id in quotes", 'write it as "111122223333"'),
]
AccountId = Annotated[
    str,
    Field(strict=True, pattern=r"^(default|[0-9]{12})$"),
    AfterValidator(refuse_displayed_account),
    Words("`default` or a 12-digit account id in quotes", 'write it as "111122223333"'),
]
AccessKeyId = Annotated[
    str,
    Field(strict=True, pattern=r"^[^/,=\s]{1,128}$"),
    Words("an access key id", "write it as clients send it: no slash, comma, equals sign or space"),
]
