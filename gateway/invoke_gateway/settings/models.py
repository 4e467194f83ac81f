"""The settings as frozen models: every key with its type, unit and default.

They are also the source of the JSON Schema, of the flags and of the help: the text under a field is its
description. `values` says what a single value may look like.
"""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from invoke_gateway.policy.destination_url import names_function
from invoke_gateway.policy.reservations import (
    default_unreserved_floor,
    find_floor_violation,
    unreserved_concurrent_executions,
)
from invoke_gateway.settings.paths import join_key
from invoke_gateway.settings.types import (
    AccessKeyId,
    AccountId,
    Address,
    AuthorityFile,
    BackendUrl,
    Bytes,
    CallerRequestRate,
    Count,
    CountersUrl,
    Delays,
    EventAge,
    EventStoreUrl,
    FunctionName,
    LeaseSeconds,
    ListenAddress,
    NamedAccount,
    Origins,
    PositiveCount,
    ReadableFile,
    Region,
    RequestRate,
    RetryAttempts,
    Seconds,
    SecondsOrNone,
    Switch,
    TargetUrl,
    WorkerCount,
    complaint,
    find_certificate_mistake,
)


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# A slotted dataclass, not a Model: a million configured functions cost a fraction of the memory.
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class Function:
    """One function's limits; all its versions and aliases share them."""

    reserved_concurrent_executions: Count | None = None
    """Slots kept for this function, which are also its ceiling; 0 refuses every call. Not set: the function
    shares the account's unreserved slots."""
    requests_per_second: RequestRate = "auto"
    """Synchronous requests per second. `auto`: 10 x its reservation, or no limit of its own without one.
    `off`: no limit."""
    maximum_retry_attempts: RetryAttempts = 2
    """How often an asynchronous invocation is run again after the function has failed."""
    maximum_event_age_seconds: EventAge = 21_600
    """Seconds that an asynchronous invocation is kept and tried at most."""
    dead_letter_queue: TargetUrl | None = None
    """Where events go that could not be run: sqs+http://host:port/account/queue, file:///path,
    redis://host:port/0?stream=name, http://… or function:name. Not set: nowhere."""
    on_success: TargetUrl | None = None
    """Where the record of an event that was run goes. Not set: nowhere."""
    on_failure: TargetUrl | None = None
    """Where the record of an event that could not be run goes. Not set: nowhere."""

    @property
    def has_targets(self) -> bool:
        """Whether anybody is told what becomes of its events."""
        targets = (self.dead_letter_queue, self.on_success, self.on_failure)
        return targets != (None, None, None)

    recursive_loop: Literal["Terminate", "Allow"] = "Terminate"
    """What becomes of a call whose chain of calls has invoked this function about 16 times. `Terminate`:
    RecursiveInvocationException. `Allow`: it runs."""


class Account(Model):
    """The limits of one account."""

    concurrent_executions: Count = 1000
    """Slots: how many invocations of the account may run at once."""
    unreserved_floor: Count | None = None
    """Slots that reservations must leave to functions without one. Not set: 100, as on AWS, or 0 when
    concurrent_executions is at most 100."""
    requests_per_second: RequestRate = "auto"
    """Synchronous requests per second of the account. `auto`: 10 x concurrent_executions. `off`: no limit."""
    caller_requests_per_second: CallerRequestRate = "off"
    """Requests per second of each caller (access key id). `off`: no limit."""
    functions: dict[FunctionName, Function] = Field(default_factory=dict)
    """Functions with limits of their own, by plain name; all others share what is unreserved."""

    @model_validator(mode="after")
    def _leave_the_floor(self) -> Self:
        sentence = find_floor_violation(self.concurrent_executions, self._reservations(), self.unreserved_floor)
        if sentence is not None:
            raise complaint(sentence, self._floor_cure())
        return self

    @field_validator("functions")
    @classmethod
    def _tell_others(cls, functions: dict[str, Function]) -> dict[str, Function]:
        for name, function in functions.items():
            if not function.has_targets:
                continue
            for key in ("dead_letter_queue", "on_success", "on_failure"):
                target = getattr(function, key)
                if target is not None and names_function(target, name):
                    raise complaint(
                        "You can't specify the function as a destination for itself.",
                        "name another function, or a queue",
                        at=join_key((name, key)),
                    )
        return functions

    def _reservations(self) -> Iterable[int]:
        return (function.reserved_concurrent_executions or 0 for function in self.functions.values())

    def _floor_cure(self) -> str:
        cure = (
            f"{self.reserved} of {self.concurrent_executions} concurrent executions are reserved, which "
            f"leaves {self.unreserved} where {self.floor} must stay unreserved: reserve "
            f"{self.floor - self.unreserved} fewer, or raise concurrent_executions to "
            f"{self.reserved + self.floor}"
        )
        return cure if self.unreserved < 0 else f"{cure}, or lower unreserved_floor to {self.unreserved}"

    @property
    def reserved(self) -> int:
        """Slots kept by reservations, summed over the functions anew at each call."""
        return sum(self._reservations())

    @property
    def unreserved(self) -> int:
        """Slots shared by functions without a reservation, summed anew at each call."""
        return unreserved_concurrent_executions(self.concurrent_executions, self._reservations())

    @property
    def floor(self) -> int:
        """Slots that must stay unreserved, with the default filled in."""
        if self.unreserved_floor is None:
            return default_unreserved_floor(self.concurrent_executions)
        return self.unreserved_floor


class Backend(Model):
    """Where invocations are forwarded to."""

    url: BackendUrl = "demo"
    """Origin of the backend, http or https, without a path; or `demo` for the embedded demo functions."""
    timeout_seconds: Seconds = 900
    """Seconds a call may take. Set it at or above the functions' own time-out: after it the slot is given
    back because the backend is taken to have ended the call."""
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
    """Host header sent on: the client's (`preserve`; signatures cover it) or the backend's."""
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
    """What refusals and the gateway's own faults tell clients about trying again."""

    retry_after: Switch = True
    """Send Retry-After, in seconds: read by the JavaScript and Go SDKs."""
    x_amz_retry_after: Switch = True
    """Send x-amz-retry-after, in milliseconds: read by boto3 and the AWS CLI."""
    maximum_seconds: PositiveCount = 20
    """Seconds a client is told to wait at most."""


class Cors(Model):
    """Selects the web pages that may call the gateway from a browser (docs/browsers.md)."""

    allow_origins: Origins = ()
    """Origins whose pages may call, such as [http://localhost:3000], or ["*"] for every page. Empty: the gateway sends
    no CORS headers of its own."""

    @field_validator("allow_origins")
    @classmethod
    def _be_all_or_some(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in origins and len(set(origins)) > 1:
            raise complaint("has * beside other origins", "leave the others out: * allows every origin")
        return origins


class Shared(Model):
    """How counters are shared; without effect where they are in memory."""

    lease_seconds: LeaseSeconds = 10
    """Seconds after which the slots of a gateway process that no longer renews its lease are released."""
    store_timeout_seconds: Seconds = 0.25
    """Seconds that the store may take to reply; at most a quarter of lease_seconds."""
    on_store_failure: Literal["refuse", "local_share", "admit"] = "refuse"
    """What happens to calls while the store is unavailable. `refuse`: ServiceException. `local_share`: each gateway
    admits up to its share of every limit. `admit`: each gateway admits up to every limit by itself."""
    reclaim_after: Literal["lease", "timeout"] = "lease"
    """When the slots of a dead gateway are released. `lease`: when its lease ends, though the backend may still run its
    calls. `timeout`: backend.timeout_seconds later, when none of them can still run."""

    @model_validator(mode="after")
    def _answer_within_the_lease(self) -> Self:
        if self.store_timeout_seconds > self.lease_seconds / 4:
            raise complaint(
                f"is {self.store_timeout_seconds:g}, more than a quarter of lease_seconds ({self.lease_seconds:g})",
                f"lower it to {self.lease_seconds / 4:g}, or raise lease_seconds",
                at="store_timeout_seconds",
            )
        return self


class Async(Model):
    """Asynchronous (Event) invocations."""

    mode: Literal["queue", "forward"] = "queue"
    """`queue`: kept here, answered with 202, run when there is a slot, retried. `forward`: handed to the backend as
    they are, for one that has a queue of its own."""
    store: EventStoreUrl | None = None
    """Where events are stored: sqlite:///path/of/a/file, or a redis://, rediss://, redis+sentinel:// or unix:// URL for
    gateways that share them. Not set: a file in the state folder ($XDG_STATE_HOME or ~/.local/state), or the store of
    `counters` where several workers need one."""
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
    """How often a dead-letter queue or destination is tried; then the event is kept until somebody says what to do."""
    maximum_events: PositiveCount = 10_000_000
    """Events that may be kept at once; beyond it new ones are refused."""


class Tls(Model):
    """Certificate of the Invoke listener."""

    certificate: ReadableFile
    """PEM file with the certificate and its chain. Not set: plain HTTP."""
    key: ReadableFile
    """PEM file with the private key, without a passphrase."""

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        mistake = find_certificate_mistake(self.certificate, self.key)
        if mistake is not None:
            raise complaint(mistake, "give the PEM files of one certificate and its unencrypted private key")
        return self


class Settings(Model):
    """Everything that can be set."""

    listen: ListenAddress = Address("127.0.0.1", 9001)
    """host:port of the Invoke API; port 0 takes a free one. A name is listened on by all of its addresses."""
    admin: ListenAddress = Field(Address("127.0.0.1", 9002), validate_default=True)
    """host:port of the live page, /metrics, /readyz, /limits, /in-flight, /holds, /queue, /faults; port 0 takes a free
    one."""
    region: Region = "us-east-1"
    """The one AWS Region that this gateway serves."""
    tls: Tls | None = None
    """Certificate of the Invoke listener. Not set: plain HTTP."""
    backend: Backend = Backend()
    """Where invocations are forwarded to."""
    accounts: dict[AccountId, Account] = Field(default_factory=lambda: {"default": Account()})
    """Limits by 12-digit account id in quotes. `default` is shared by every account not named and is shown as
    000000000000."""
    credentials: dict[AccessKeyId, NamedAccount] = Field(default_factory=dict)
    """Which account a caller belongs to: access key id to 12-digit account id in quotes."""
    quotas: Quotas = Quotas()
    """Payload quotas, in bytes."""
    async_: Async = Field(Async(), alias="async")
    """Asynchronous (Event) invocations."""
    payload_error: Literal["modelled", "as_observed"] = "modelled"
    """Code of a refused payload (413). `modelled`: RequestTooLargeException, for which every SDK has a class.
    `as_observed`: RequestEntityTooLargeException, which AWS has been seen to send."""
    retry: Retry = Retry()
    """Selects what clients receive about trying again."""
    cors: Cors = Cors()
    """Selects the web pages that may call the gateway from a browser."""
    decision_header: Switch = True
    """Send x-invoke-gateway-decision: which limit refused, with in-use and ceiling."""
    counters: CountersUrl = "memory"
    """Where slots and tokens are counted. `memory`: in this process. redis://, rediss:// (TLS) or unix://: on a Redis
    or Valkey that all gateways share, which then hold the limits together; redis+sentinel:// and redis+cluster:// where
    sentinels or a cluster do."""
    shared: Shared = Shared()
    """How counters are shared; without effect where they are in memory."""
    workers: WorkerCount = 1
    """Processes that serve the Invoke API; one that dies is replaced. More than one need counters that they share."""
    buffer_bytes: Bytes = 536_870_912
    """Bytes of payloads held in a process at once; beyond it new requests are refused."""
    read_timeout_seconds: Seconds = 60
    """Seconds within which a request's head, and each 64 KiB of its body, must arrive; also how long a client
    may take nothing of its response."""
    keep_alive_seconds: SecondsOrNone = 65
    """Seconds an idle client connection is kept open."""
    max_connections: PositiveCount = 16384
    """Client connections of a process at once."""
    max_header_bytes: PositiveCount = 65536
    """Bytes of a request's head."""
    max_headers: PositiveCount = 128
    """Header lines of a request."""
    drain_seconds: SecondsOrNone = 30
    """Seconds that admitted calls may take to finish after SIGTERM."""
    faults: Switch = False
    """Accept fault scripts on /faults of the admin listener: calls then fail, are late or cut as they say."""
    watch: Switch = False
    """Reload the limits whenever the settings file changes."""
    access_log: Switch = False
    """Write one structured log line per request."""
    metric_functions: Count = 1000
    """Functions that get metric labels of their own; the rest are counted as `other`."""

    @field_validator("admin")
    @classmethod
    def _be_two_listeners(cls, admin: Address, known: ValidationInfo) -> Address:
        if admin.port and admin == known.data.get("listen"):
            raise complaint(f"is {admin}, which is also listen", "give the two listeners different ports")
        return admin

    @field_validator("backend")
    @classmethod
    def _not_forward_to_itself(cls, backend: Backend, known: ValidationInfo) -> Backend:
        for name in ("listen", "admin"):
            listener = known.data.get(name)
            if listener is not None and listener.is_reached_by(backend.url):
                cure = "give the address of the backend, or move the gateway with listen"
                raise complaint(f"is {backend.url}, which is the gateway's own {name}", cure, at="url")
        return backend

    @field_validator("workers")
    @classmethod
    def _count_together(cls, workers: int, known: ValidationInfo) -> int:
        if workers > 1 and known.data.get("counters") == "memory":
            raise complaint(
                f"is {workers}, but counters are in memory: each worker would admit up to every limit by itself",
                "give counters a Redis or Valkey that they share (redis://127.0.0.1:6379/0), or run one worker",
            )
        return workers

    @model_validator(mode="after")
    def _share_events(self) -> Self:
        events = self.async_
        if self.workers == 1 or events.mode == "forward":
            return self
        if events.store is not None and events.store.startswith("sqlite:"):
            raise complaint(
                f"is a file, which one process has for itself, and there are {self.workers} workers",
                "give a Redis or Valkey that they share (redis://127.0.0.1:6379/0), or run one worker",
                at="async.store",
            )
        if events.store is None and self.counters.partition("://")[0].endswith("+cluster"):
            raise complaint(
                f"is not set, {self.workers} workers need one, and events cannot be kept where the counters are",
                "give the URL of one Redis or Valkey, or set async.mode to forward",
                at="async.store",
            )
        return self

    @property
    def event_store(self) -> str | None:
        """The URL of the store of events; None for a file of this gateway's own."""
        if self.async_.store is not None:
            return self.async_.store
        return self.counters if self.workers > 1 else None

    @field_validator("faults")
    @classmethod
    def _count_steps_in_one_process(cls, faults: bool, known: ValidationInfo) -> bool:
        workers = known.data.get("workers", 1)
        if faults and workers > 1:
            raise complaint(
                f"is true with {workers} workers, but a fault script counts its calls in one process",
                "run one worker where faults are scripted, or leave faults out",
            )
        return faults

    @field_validator("accounts")
    @classmethod
    def _have_a_default(cls, accounts: dict[str, Account]) -> dict[str, Account]:
        return accounts if "default" in accounts else {"default": Account(), **accounts}
