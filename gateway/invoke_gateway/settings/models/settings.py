"""Defines the settings as frozen models: every key with its type, unit and default.

The models are also the source of the JSON Schema, of the flags and of the help: the text under a field is its
description. The sections stand in `sections`, `accounts` and `callers`.
"""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, field_validator

from invoke_gateway.policy.identity.aws_host import find_lambda_region
from invoke_gateway.settings.merge import Sources
from invoke_gateway.settings.models.accounts import Account, Model
from invoke_gateway.settings.models.address import Address
from invoke_gateway.settings.models.caller_types import CallerName
from invoke_gateway.settings.models.callers import CallerEntry
from invoke_gateway.settings.models.sections import (
    Async,
    Backend,
    ControlSettings,
    Cors,
    Log,
    Provisioned,
    Quotas,
    Retry,
    SharedSettings,
    Signing,
    Tls,
)
from invoke_gateway.settings.models.types import (
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
    SignatureMode,
    Switch,
    TokenSource,
    WorkerCount,
)


class Settings(Model):
    """All settings."""

    listen: ListenAddress = Address("127.0.0.1", 9001)
    """host:port of the Invoke API; port 0 takes a free one. A name is listened on by all of its addresses."""
    admin: ListenAddress = Address("127.0.0.1", 9002)
    """host:port of the live page, /metrics, /readyz, /limits, /in-flight, /holds, /queue, /faults; port 0 takes a free
    one."""
    admin_token: TokenSource | None = None
    """Place of the bearer token of the admin listener, env:NAME or file:/path. It is then needed for all that changes
    something. Not set: only a listener on loopback allows changes."""
    admin_reads: Literal["open", "token"] = "open"
    """Reading from the admin listener. `open`: without a token. `token`: with it, except the page, /healthz and
    /readyz."""
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
    """Account of each caller: access key id to 12-digit account id in quotes, or to `default`. Not with `signatures:
    verify`, where the account is that of the caller's ARN."""
    signatures: SignatureMode = "off"
    """Signatures (SigV4) of requests. `off`: nothing is verified, and any client of `listen` may use any account.
    `verify`: each request must be signed with a key of `callers`, and its caller's account is the account."""
    callers: dict[CallerName, CallerEntry] = Field(default_factory=dict)
    """Access keys with their secrets, and callers by their ARN with their limits and policies
    (docs/guides/signatures.md)."""
    quotas: Quotas = Quotas()
    """Payload quotas, in bytes."""
    async_: Async = Field(Async(), alias="async")
    """Asynchronous (Event) invocations."""
    control: ControlSettings = ControlSettings()
    """Lambda's concurrency operations, which the gateway serves itself."""
    provisioned: Provisioned = Provisioned()
    """Provisioned concurrency."""
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
    """Store of slots and tokens. `memory`: this process, or an embedded store of its workers. redis://, rediss:// (TLS)
    or unix://: a Redis or Valkey that all gateways share, which then hold the limits together. redis+sentinel:// and
    redis+cluster://: sentinels or a cluster."""
    shared: SharedSettings = SharedSettings()
    """Counters that gateways share; no effect on counters in memory."""
    workers: WorkerCount = 1
    """Processes that serve the Invoke API; a dead one is replaced. Where `counters` names no store, several workers
    have an embedded one, which needs valkey-server or redis-server."""
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

    _sources: Sources = PrivateAttr(default_factory=Sources)

    def set_sources(self, sources: Sources) -> None:
        """Keeps the names of the file, the flags and the variables that set the values."""
        self._sources = sources

    def source_of(self, *path: str) -> str:
        """Returns the file, the flag or the variable that set the value at `path`."""
        return self._sources.of(path)

    @property
    def event_store(self) -> str | None:
        """Returns the URL of the event store; None for a file, or a store, of this gateway's own."""
        if self.async_.store is not None:
            return self.async_.store
        is_fit = "://" in self.counters and not self.counters.partition("://")[0].endswith("+cluster")
        return self.counters if self.workers > 1 and is_fit else None

    @property
    def needs_embedded_store(self) -> bool:
        """Returns True where several workers share counters, and no store is named."""
        return self.workers > 1 and self.counters == "memory"

    @property
    def signing(self) -> Signing | None:
        """Returns how requests to the backend are signed; None where they are not."""
        sign = self.backend.sign
        if sign is None:
            return None if find_lambda_region(urlsplit(self.backend.url).hostname or "") is None else Signing()
        return None if sign.service == "off" else sign

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
