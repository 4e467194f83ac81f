"""Defines the type, the bounds and the description of each single value."""

import shlex
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator

from invoke_gateway.policy.events.destination_url import KINDS_CURE, KINDS_IN_WORDS
from invoke_gateway.secret_source import FORMS
from invoke_gateway.settings.descriptions import Description, invalid_value
from invoke_gateway.settings.models.address import Address, read_address
from invoke_gateway.settings.models.readable_files import (
    read_authority_file,
    read_file_name,
    read_log_file_name,
    read_token_source,
)
from invoke_gateway.settings.models.urls import (
    read_backend_url,
    read_control_store_url,
    read_counters_url,
    read_event_store_url,
    read_http_origin,
    read_origin,
    read_target_url,
)

MOST = 1_000_000_000  # slots or things: far above any use, low enough for every sum of them
MOST_BYTES = 2**50
A_DAY = 86_400  # seconds; longer than any invocation may take, and within what event loops can schedule


def refuse_displayed_account(account: str) -> str:
    """Refuses the account 000000000000."""
    if account == "000000000000":
        raise invalid_value("is how the account `default` is shown", "write default instead of 000000000000")
    return account


def read_bare_off(value: object) -> object:
    """Accepts a bare `off`, which YAML 1.1 reads as false."""
    return "off" if value is False else value


def read_outside_source(source: str) -> str:
    """Accepts `cloudwatch`, or `command:` with the words of a command."""
    kind, colon, command = source.partition(":")
    if source == "cloudwatch":
        return source
    if kind != "command" or not colon:
        cure = "write the slots as a number, cloudwatch, or command:/path/of/a/command"
        if get_close_matches(source.lower(), ["cloudwatch"]):
            cure = "did you mean cloudwatch?"
        elif source.startswith("/"):
            cure = f"write command:{source}"
        raise invalid_value("is no number of slots, and no source of one", cure)
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise invalid_value(f"has a command that cannot be split into words: {error}", "close the quote") from None
    if not words:
        raise invalid_value("names no command", "write command:/path/of/a/command, with its arguments")
    return source


Switch = Annotated[bool, Field(strict=True), Description("true or false")]
FaultSwitch = Annotated[Literal["auto"] | Annotated[bool, Field(strict=True)], Description("auto, true or false")]
Count = Annotated[int, Field(strict=True, ge=0, le=MOST), Description("a whole number from 0 to 1000000000")]
PositiveCount = Annotated[int, Field(strict=True, ge=1, le=MOST), Description("a whole number from 1 to 1000000000")]
WorkerCount = Annotated[int, Field(strict=True, ge=1, le=256), Description("a whole number from 1 to 256")]
Bytes = Annotated[
    int, Field(strict=True, ge=1, le=MOST_BYTES), Description("a whole number of bytes, at least 1", unit="bytes")
]
Seconds = Annotated[
    float,
    Field(strict=True, gt=0, le=A_DAY, allow_inf_nan=False),
    Description("a number of seconds above 0, at most 86400 (a day)", unit="seconds"),
]
SecondsOrNone = Annotated[
    float,
    Field(strict=True, ge=0, le=A_DAY, allow_inf_nan=False),
    Description("a number of seconds from 0 to 86400 (a day)", unit="seconds"),
]
Rate = Annotated[float, Field(strict=True, ge=0, le=MOST, allow_inf_nan=False)]
RequestRate = Annotated[
    Literal["auto", "off"] | Rate,
    BeforeValidator(read_bare_off),
    Description("auto, off, or a number of requests per second, 0 or more", unit="per second"),
]
CallerRequestRate = Annotated[
    Literal["off"] | Rate,
    BeforeValidator(read_bare_off),
    Description("off, or a number of requests per second, 0 or more", unit="per second"),
]
ScalingRate = Annotated[
    Literal["off"] | Annotated[float, Field(strict=True, ge=1, le=MOST, allow_inf_nan=False)],
    BeforeValidator(read_bare_off),
    Description("off, or a number of slots per ten seconds, 1 or more"),
]
SignatureMode = Annotated[
    Literal["off", "verify"],
    BeforeValidator(read_bare_off),
    Description("off or verify"),
]
OutsideConcurrency = Annotated[
    Annotated[int, Field(strict=True, ge=0, le=MOST)]
    | Annotated[str, Field(strict=True), AfterValidator(read_outside_source)],
    Description("a whole number from 0 to 1000000000, cloudwatch, or command: and a command"),
]
ListenAddress = Annotated[
    Address, PlainValidator(read_address, json_schema_input_type=str), PlainSerializer(str, return_type=str)
]
BackendUrl = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_backend_url),
    Description("an http or https origin, or the word demo"),
]
HttpOrigin = Annotated[
    str, Field(strict=True), AfterValidator(read_http_origin), Description("an http or https origin")
]
ReadableFile = Annotated[str, Field(strict=True), AfterValidator(read_file_name), Description("the name of a file")]
AccessLogFile = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_log_file_name),
    Description("the name of a file, or - for standard output"),
]
AuthorityFile = Annotated[
    str, Field(strict=True), AfterValidator(read_authority_file), Description("the name of a PEM file")
]
CountersUrl = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_counters_url),
    Description("memory, or a redis://, rediss://, redis+sentinel://, redis+cluster:// or unix:// URL"),
]
EventStoreUrl = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_event_store_url),
    Description("a sqlite:///path, redis://, rediss://, redis+sentinel:// or unix:// URL"),
]
ControlStoreUrl = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_control_store_url),
    Description("a file:///path/of/a/file.json URL"),
]
RetryAttempts = Annotated[int, Field(strict=True, ge=0, le=2), Description("0, 1 or 2")]
EventAge = Annotated[
    int, Field(strict=True, ge=60, le=21_600), Description("a whole number of seconds from 60 to 21600", unit="seconds")
]
Delays = Annotated[
    tuple[Seconds, ...],
    Field(min_length=1, max_length=10),
    Description("a list of one to ten numbers of seconds, such as [60, 120]", unit="seconds"),
]
TargetUrl = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_target_url),
    Description(f"a text that begins with {KINDS_IN_WORDS}", KINDS_CURE),
]
LeaseSeconds = Annotated[
    float,
    Field(strict=True, ge=0.5, le=3600, allow_inf_nan=False),
    Description("a number of seconds from 0.5 to 3600", unit="seconds"),
]
Origin = Annotated[
    str,
    Field(strict=True),
    AfterValidator(read_origin),
    Description("an origin such as http://localhost:3000, or *"),
]
Origins = Annotated[
    tuple[Origin, ...],
    Description('a list of origins, such as [http://localhost:3000], or ["*"]'),
]
SigningCredentialsName = Annotated[
    str,
    Field(strict=True, pattern=r"^(default|env|profile:[^\s:]{1,128})$"),
    Description("default, env, or profile:NAME", "write default, env, or profile:NAME"),
]
Region = Annotated[
    str,
    Field(strict=True, pattern=r"^[a-z]{2,8}(-[a-z]{1,16}){1,3}-[0-9]{1,2}$"),
    Description("an AWS Region such as us-east-1"),
]
# No validator of ours here: with a million functions, loading would spend its time calling it.
FunctionName = Annotated[
    str,
    Field(strict=True, pattern=r"^[a-zA-Z0-9._-]{1,256}$"),
    Description(
        "a plain function name: letters, digits, hyphens, underscores and dots",
        "leave out ARN, version and alias: all versions of a function share its limits",
    ),
]
_TWELVE_DIGITS = 'write all 12 digits, in quotes: "111122223333"'
NamedAccount = Annotated[
    str,
    Field(strict=True, pattern=r"^(default|[0-9]{12})$"),
    Description("`default` or a 12-digit account id in quotes", _TWELVE_DIGITS),
]
AccountId = Annotated[
    str,
    Field(strict=True, pattern=r"^(default|[0-9]{12})$"),
    AfterValidator(refuse_displayed_account),
    Description("`default` or a 12-digit account id in quotes", _TWELVE_DIGITS),
]
TokenSource = Annotated[
    str,
    BeforeValidator(read_token_source),
    Description(f"the place of the token, {FORMS}", "write the place of the token, not the token itself"),
]
AccessKeyId = Annotated[
    str,
    Field(strict=True, pattern=r"^[^/,=\s]{1,128}$"),
    Description("an access key id", "write it as clients send it: no slash, comma, equals sign or space"),
]
