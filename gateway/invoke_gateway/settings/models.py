"""Defines the settings as frozen models: every key with its type, unit and default.

The models are also the source of the JSON Schema, of the flags and of the help: the text under a field is its
description. The sections stand in `section_models` and `account_models`.
"""

from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from invoke_gateway.settings.account_models import Account, Model
from invoke_gateway.settings.address import Address
from invoke_gateway.settings.descriptions import invalid_value
from invoke_gateway.settings.section_models import Async, Backend, Cors, Log, Quotas, Retry, SharedSettings, Tls
from invoke_gateway.settings.types import (
    AccessKeyId,
    AccessLogFile,
    AccountId,
    Bytes,
    Count,
    CountersUrl,
    FaultSwitch,
    ListenAddress,
    NamedAccount,
    PositiveCount,
    Region,
    Seconds,
    SecondsOrNone,
    Switch,
    WorkerCount,
)


class Settings(Model):
    """All settings."""

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
    """The backend that invocations are forwarded to."""
    accounts: dict[AccountId, Account] = Field(default_factory=lambda: {"default": Account()})
    """Limits by 12-digit account id in quotes. `default` is shared by every account not named and is shown as
    000000000000."""
    credentials: dict[AccessKeyId, NamedAccount] = Field(default_factory=dict)
    """Account of each caller: access key id to 12-digit account id in quotes."""
    quotas: Quotas = Quotas()
    """Payload quotas, in bytes."""
    async_: Async = Field(Async(), alias="async")
    """Asynchronous (Event) invocations."""
    payload_error: Literal["modelled", "as_observed"] = "modelled"
    """Code of a refused payload (413). `modelled`: RequestTooLargeException, for which every SDK has a class.
    `as_observed`: RequestEntityTooLargeException, which AWS has been seen to send."""
    retry: Retry = Retry()
    """Headers that advise clients to retry."""
    cors: Cors = Cors()
    """Web pages that may call the gateway from a browser."""
    decision_header: Switch = True
    """Send x-invoke-gateway-decision: which limit refused, with in-use and ceiling."""
    counters: CountersUrl = "memory"
    """Store of slots and tokens. `memory`: this process. redis://, rediss:// (TLS) or unix://: a Redis or Valkey that
    all gateways share, which then hold the limits together. redis+sentinel:// and redis+cluster://: sentinels or a
    cluster."""
    shared: SharedSettings = SharedSettings()
    """Counters that gateways share; no effect on counters in memory."""
    workers: WorkerCount = 1
    """Processes that serve the Invoke API; a dead one is replaced. Several workers need shared counters."""
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
    faults: FaultSwitch = "auto"
    """Accept fault scripts on /faults of the admin listener: calls then fail, are late or cut as scripted. `auto`: only
    before the demo backend, with one worker."""
    watch: Switch = False
    """Reload the limits whenever the settings file changes."""
    log: Log = Log()
    """Log of the gateway, on standard error."""
    access_log: AccessLogFile | None = None
    """File of the access log, one JSON object per request; `-` is standard output. The file is opened again after a
    rotation. Not set: no access log."""
    metric_functions: Count = 1000
    """Functions that get metric labels of their own; the rest are counted as `other`."""

    @field_validator("admin")
    @classmethod
    def _refuse_one_address(cls, admin: Address, known: ValidationInfo) -> Address:
        if admin.port and admin == known.data.get("listen"):
            raise invalid_value(f"is {admin}, which is also listen", "give the two listeners different ports")
        return admin

    @field_validator("backend")
    @classmethod
    def _refuse_itself_as_backend(cls, backend: Backend, known: ValidationInfo) -> Backend:
        for name in ("listen", "admin"):
            listener = known.data.get(name)
            if listener is not None and listener.is_reached_by(backend.url):
                cure = "give the address of the backend, or move the gateway with listen"
                raise invalid_value(f"is {backend.url}, which is the gateway's own {name}", cure, at="url")
        return backend

    @field_validator("workers")
    @classmethod
    def _require_shared_counters(cls, workers: int, known: ValidationInfo) -> int:
        if workers > 1 and known.data.get("counters") == "memory":
            raise invalid_value(
                f"is {workers}, but counters are in memory: each worker would admit up to every limit by itself",
                "give counters a Redis or Valkey that they share (redis://127.0.0.1:6379/0), or run one worker",
            )
        return workers

    @model_validator(mode="after")
    def _require_shared_events(self) -> Self:
        events = self.async_
        if self.workers == 1 or events.mode == "forward":
            return self
        if events.store is not None and events.store.startswith("sqlite:"):
            raise invalid_value(
                f"is a file, which only one process can use, and there are {self.workers} workers",
                "give a Redis or Valkey that they share (redis://127.0.0.1:6379/0), or run one worker",
                at="async.store",
            )
        if events.store is None and self.counters.partition("://")[0].endswith("+cluster"):
            raise invalid_value(
                f"is not set, {self.workers} workers need one, and events cannot be kept where the counters are",
                "give the URL of one Redis or Valkey, or set async.mode to forward",
                at="async.store",
            )
        return self

    @property
    def event_store(self) -> str | None:
        """Returns the URL of the event store; None for a file of this gateway's own."""
        if self.async_.store is not None:
            return self.async_.store
        return self.counters if self.workers > 1 else None

    @field_validator("faults")
    @classmethod
    def _refuse_faults_of_several(cls, faults: bool | str, known: ValidationInfo) -> bool | str:
        workers = known.data.get("workers", 1)
        if faults is True and workers > 1:
            raise invalid_value(
                f"is true with {workers} workers, but a fault script counts its calls in one process",
                "run one worker where faults are scripted, or leave faults out",
            )
        return faults

    @property
    def accepts_faults(self) -> bool:
        """Returns whether fault scripts are accepted."""
        if self.faults == "auto":
            return self.backend.url == "demo" and self.workers == 1
        return self.faults

    @field_validator("accounts")
    @classmethod
    def _add_default(cls, accounts: dict[str, Account]) -> dict[str, Account]:
        return accounts if "default" in accounts else {"default": Account(), **accounts}
