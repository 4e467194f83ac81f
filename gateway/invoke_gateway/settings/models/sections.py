"""Defines the sections of the settings, but for accounts, as frozen models."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, field_validator

from invoke_gateway.settings.descriptions import invalid_value
from invoke_gateway.settings.models.accounts import Model
from invoke_gateway.settings.models.types import (
    AuthorityFile,
    BackendUrl,
    Bytes,
    ControlStoreUrl,
    Delays,
    EventStoreUrl,
    FunctionName,
    HttpOrigin,
    LeaseSeconds,
    Origins,
    PositiveCount,
    ReadableFile,
    Region,
    Seconds,
    SecondsOrNone,
    SigningCredentialsName,
    Switch,
    read_bare_off,
)


class Signing(Model):
    """Signatures of the gateway's own on requests to the backend (docs/guides/aws.md)."""

    service: Annotated[Literal["lambda", "off"], BeforeValidator(read_bare_off)] = "lambda"
    """Service that requests are signed for. `off`: requests are forwarded as their clients signed them."""
    region: Region | None = None
    """Region that requests are signed for. Not set: `region`."""
    credentials: SigningCredentialsName = "default"
    """Credentials that sign. `default`: botocore's chain of providers (extra `aws`). `profile:NAME`: a profile of it.
    `env`: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN alone, without botocore."""


def read_signing_switch(value: object) -> object:
    """Accepts `true` for signing with the defaults, and `false` for none."""
    if isinstance(value, bool):
        return {} if value else {"service": "off"}
    return value


class Backend(Model):
    """The backend that invocations are forwarded to."""

    url: BackendUrl = "demo"
    """Origin of the backend, http or https, without a path; or `demo` for the embedded demo functions."""
    timeout_seconds: Seconds = 900
    """Seconds a call may take. Set it at or above the functions' own time-out: after it the slot is
    released, because the backend is taken to have ended the call."""
    connect_timeout_seconds: Seconds = 5
    """Seconds to open a connection to the backend, its name's lookup and all of its addresses included."""
    first_byte_timeout_seconds: Seconds | None = None
    """Seconds until a response must begin. Most backends send nothing before the function has ended. Not set:
    timeout_seconds."""
    idle_timeout_seconds: Seconds | None = None
    """Seconds that a response may pause between two pieces. Not set: timeout_seconds."""
    keep_alive_seconds: SecondsOrNone = 4
    """Seconds an idle connection to the backend stays in use; keep it below the backend's own. 0 uses each
    connection once."""
    host_header: Literal["preserve", "backend"] = "preserve"
    """Host header sent on: the client's (`preserve`; signatures cover it) or the backend's. With `sign` always the
    backend's."""
    sign: Annotated[
        Signing | None, BeforeValidator(read_signing_switch, json_schema_input_type=Signing | bool | None)
    ] = None
    """Sign each request to the backend in the gateway's own name, in place of the client's signature. `true`: with the
    defaults. Not set: only where `url` is AWS Lambda's."""
    function_path: FunctionName | None = None
    """Function name written into every forwarded path, such as `function` for AWS's Runtime Interface
    Emulator. Not set: the path is forwarded as it came."""
    function_errors: Literal["header", "body", "auto"] = "auto"
    """Selects the report by which an invocation counts as failed. `header`: X-Amz-Function-Error. `body`: also an error
    object alone. `auto`: the header, and an error object where the answer is one of AWS's Runtime Interface
    Emulator."""
    certificate_authority: AuthorityFile | None = None
    """PEM file of the authorities to trust for an https backend. Not set: the system's authorities."""


class Quotas(Model):
    """Payload quotas; AWS's numbers are the defaults."""

    request: Bytes = 6_291_456
    """Bytes of a synchronous request's body."""
    event_request: Bytes = 1_048_576
    """Bytes of an asynchronous (Event) request's body."""
    response: Bytes = 6_291_556
    """Bytes of a buffered response."""
    streamed_response: Bytes = 209_715_200
    """Bytes of a streamed response."""


class Retry(Model):
    """Headers that advise clients to retry."""

    retry_after: Switch = True
    """Send Retry-After, in seconds: read by the JavaScript and Go SDKs."""
    x_amz_retry_after: Switch = True
    """Send x-amz-retry-after, in milliseconds: read by boto3 and the AWS CLI."""
    maximum_seconds: PositiveCount = 20
    """Longest wait that is advised (seconds)."""


class Cors(Model):
    """Web pages that may call the gateway from a browser (docs/guides/browsers.md)."""

    allow_origins: Origins = ()
    """Origins whose pages may call, such as [http://localhost:3000], or ["*"] for every page. Empty: the gateway sends
    no CORS headers of its own."""

    @field_validator("allow_origins")
    @classmethod
    def _refuse_star_beside_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in origins and len(set(origins)) > 1:
            raise invalid_value("has * beside other origins", "write * alone: it allows every origin")
        return origins


class SharedSettings(Model):
    """Counters that gateways share; no effect on counters in memory."""

    lease_seconds: LeaseSeconds = 10
    """Seconds after which the slots of a gateway process that no longer renews its lease are released."""
    store_timeout_seconds: Seconds = 0.25
    """Seconds that the store may take to reply; at most a quarter of lease_seconds."""
    on_store_failure: Literal["refuse", "local_share", "admit"] = "refuse"
    """Decision about calls while the store is unavailable. `refuse`: ServiceException. `local_share`: each gateway
    admits up to its share of every limit. `admit`: each gateway admits up to every limit by itself."""
    expected_gateways: PositiveCount | None = None
    """The most gateways that run at once on the store; one with workers counts once. On a store that is new, or was
    restarted, calls are then admitted as soon as so many have reported their running calls. Not set: after
    lease_seconds, but at once where workers have an embedded store."""
    reclaim_after: Literal["lease", "timeout"] = "lease"
    """Release of the slots of a dead gateway. `lease`: when its lease ends, though the backend may still run its
    calls. `timeout`: backend.timeout_seconds later, when none of its calls can still run."""


class Async(Model):
    """Asynchronous (Event) invocations."""

    mode: Literal["queue", "forward"] = "queue"
    """`queue`: stored here, answered with 202, run when there is a slot, retried. `forward`: forwarded unchanged to a
    backend that has a queue of its own."""
    store: EventStoreUrl | None = None
    """The store of events: sqlite:///path/of/a/file, or a redis://, rediss://, redis+sentinel:// or unix:// URL for
    gateways that share them. Not set: a file in the state folder ($XDG_STATE_HOME or ~/.local/state). With several
    workers: the store of `counters`, or an embedded store with its data in the state folder."""
    adopt_events: bool = False
    """At the start, run also events that the store keeps for another backend or Region, or for accounts that are no
    longer named here. Else they are held until `invoke-gateway queue adopt`."""
    function_error_delays_seconds: Delays = (60, 120)
    """Seconds before the second run of a function that failed, before the third and so on."""
    shortest_delay_seconds: Seconds = 1
    """Seconds before an event that was throttled, or met a system error, is tried again; doubled each time."""
    longest_delay_seconds: Seconds = 300
    """Seconds between two tries at most."""
    delivery_attempts: PositiveCount = 10
    """Attempts to deliver to a dead-letter queue or destination. After the last one the event is kept until
    `queue retry` or `queue drop`."""
    maximum_events: PositiveCount = 10_000_000
    """Events that may be stored at once; beyond this number new events are refused."""


class Log(Model):
    """Log of the gateway, on standard error."""

    format: Literal["text", "json"] = "text"
    """Lines as text, or as JSON objects (docs/reference/logs.md)."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level of the lines that are logged. `debug` has also the lines of libraries."""


class ControlSettings(Model):
    """Lambda's concurrency operations, which the gateway serves itself (docs/guides/control-plane.md)."""

    check_existence: Switch = True
    """Ask the backend (GetFunction) whether a function exists, before it gets a limit. `false`: any name may have
    one, for backends without GetFunction such as AWS's Runtime Interface Emulator."""
    follow_backend: Switch = False
    """Read the backend's own concurrency settings at the start, for changes that do not pass the gateway, such as
    CloudFormation's. They hold where neither the settings nor an operation on the gateway names a value."""
    follow_interval_seconds: Seconds | None = None
    """Seconds after which the backend's settings are read again. Not set: they are read once."""
    sqs_endpoint: HttpOrigin | None = None
    """Origin of SQS, such as http://127.0.0.1:4566, for queues that PutFunctionEventInvokeConfig names by their ARN.
    Not set: such a queue is refused."""
    store: ControlStoreUrl | None = None
    """What the operations have set: file:///path/of/a/file.json. Not set: a file in the state folder
    ($XDG_STATE_HOME or ~/.local/state) by port and backend; memory before the demo backend or on a free port. Where
    `counters` names a store, the state is there, and this is the file of a copy; not set: none."""


class Provisioned(Model):
    """Provisioned concurrency."""

    allocation_seconds: SecondsOrNone = 0
    """Seconds for which the status of new provisioned concurrency is IN_PROGRESS, before it is READY."""


class Tls(Model):
    """Certificate of the Invoke listener."""

    certificate: ReadableFile
    """PEM file with the certificate and its chain. Not set: plain HTTP."""
    key: ReadableFile
    """PEM file with the private key, without a passphrase."""
