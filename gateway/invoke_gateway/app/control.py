"""Composes the control plane: the operations before a backend, and the store of what they set."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from time import gmtime, strftime, time
from typing import TYPE_CHECKING

from ..asgi import App
from ..background import BackgroundTasks
from ..control.base import ControlStore
from ..control.bulk import BulkOperations
from ..control.copy_file import CopyFile
from ..control.existence import Existence
from ..control.export import Export
from ..control.file_store import FileControlStore, check_file
from ..control.follow import BackendFollower
from ..control.followed import Followed
from ..control.operations import ControlPlaneOperations
from ..control.parts import ControlParts
from ..control.shared_store import SharedControlStore
from ..control.store import MemoryControlStore, NoControlStore
from ..destinations.sqs import missing_extra
from ..middleware.control import ControlPlane
from ..policy.control.rules import NO_FILE_VALUES, AccountFacts, AccountSlots, FileValues
from ..policy.control.state import ControlState
from ..policy.events.destination_arn import UnreachableDestination, find_target
from ..policy.limits import DEFAULT_ACCOUNT, Limits
from ..policy.store_url import find_file_path
from ..queue.origin import describe_backend
from ..settings import Account, Settings
from ..state_folder import NoStateFolder, find_state_folder
from ..store.store_name import name_store
from .limits import find_file_provisioned, resolve_destination

if TYPE_CHECKING:
    from ..counters.shared.counters import SharedCounters

_FOREIGN = re.compile(r"[^a-z0-9.-]+")


def make_control_store(settings: Settings, shared: SharedCounters | None, tasks: BackgroundTasks) -> ControlStore:
    """Makes the store: that of the shared counters, or a file."""
    if shared is not None:
        file = settings.control.store
        copy = None if file is None else CopyFile(Path(find_file_path(file)))
        return SharedControlStore(shared.control, name_store(settings.counters), tasks, copy)
    try:
        path = find_control_file(settings)
    except NoStateFolder as error:
        action = "Set HOME or XDG_STATE_HOME, or control.store to file:///a/path/that/stays.json"
        return NoControlStore(f"{error} for the control state. {action}.")
    if path is None:
        return MemoryControlStore()
    return FileControlStore(path, is_default=settings.control.store is None)


def find_control_file(settings: Settings) -> Path | None:
    """Returns the file of `control.store`, or the one of this port and backend in the state folder. None: the state
    ends with the process, before the demo backend and on a free port, which differs at each start. Raises
    `NoStateFolder`."""
    if settings.control.store is not None:
        return Path(find_file_path(settings.control.store))
    if settings.backend.url == "demo" or not settings.listen.port:
        return None
    backend = _FOREIGN.sub("-", describe_backend(settings.backend.url, settings.region)).strip("-")
    return find_state_folder() / f"control-{settings.listen.port}-{backend}.json"


def check_control_store(settings: Settings) -> None:
    """Raises `CannotOpenControl` for what would keep the control store from being opened. Changes nothing."""
    if settings.counters != "memory":
        return
    try:
        path = find_control_file(settings)
    except NoStateFolder:
        return
    if path is not None:
        check_file(path, is_default=settings.control.store is None)


class SettingsInForce:
    """Reads the settings in force for the control operations, which get plain values.

    settings: returns the settings in force
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._summed: tuple[Settings, dict[str, int]] | None = None

    def facts(self, account: str) -> AccountFacts:
        found = self._find(account)
        return AccountFacts(account, found.concurrent_executions, found.floor, self._claimed(account, found))

    def file_values(self, account: str, name: str) -> FileValues:
        function = self._find(account).functions.get(name)
        if function is None:
            return NO_FILE_VALUES
        return FileValues(
            function.reserved_concurrent_executions,
            function.maximum_retry_attempts,
            function.maximum_event_age_seconds,
            function.on_success,
            function.on_failure,
            function.recursive_loop,
            find_file_provisioned(function),
            None if function.resource_policy is None else function.resource_policy.text,
        )

    def source(self, account: str, name: str, key: str) -> str:
        written = "default" if account == DEFAULT_ACCOUNT else account
        return self._settings().source_of("accounts", written, "functions", name, key)

    def _find(self, account: str) -> Account:
        accounts = self._settings().accounts
        return accounts.get(account) or accounts["default"]

    def _claimed(self, account: str, found: Account) -> int:
        """Returns the slots that the settings reserve or provision. With a million functions the sum takes a while."""
        settings = self._settings()
        if self._summed is None or self._summed[0] is not settings:
            self._summed = settings, {}
        sums = self._summed[1]
        if account not in sums:
            sums[account] = found.claimed
        return sums[account]


class GatewayControl:
    """Composes the control plane before a backend.

    stage: the stage for requests that are no invocation
    bulk: sets and drops many values
    """

    def __init__(
        self,
        store: ControlStore,
        last: App,
        *,
        at_start: Settings,
        settings: Callable[[], Settings],
        limits: Callable[[], Limits],
        followed: Followed,
        degraded: dict[str, bool],
    ) -> None:
        """Composes it.

        last: the stage that sends a request to the backend
        settings: returns the settings in force
        limits: returns the limits in force
        followed: the backend's own values, which the follower keeps up to date
        degraded: for each cause, whether the gateway is degraded by it
        """
        self._followed = followed
        self._at_start = at_start
        self._settings = settings
        self._limits = limits
        self._last = last
        self._existence = Existence(last, region=at_start.region, is_checked=at_start.control.check_existence)
        self._in_force = SettingsInForce(settings)
        self.stage = ControlPlane(
            last,
            operations=self._make_operations(store),
            credentials=lambda: limits().credentials,
            keeps_policies=at_start.signatures == "verify",
        )
        self.bulk = BulkOperations(
            store,
            Export(name_account=name_account, find_target=lambda arn: resolve_destination(at_start, arn)),
            make_operations=self._make_operations,
            find_account=self._find_named_account,
            make_headers=self._make_headers,
            region=at_start.region,
            default_account=DEFAULT_ACCOUNT,
        )

        self.follower = self._make_follower(store, degraded) if at_start.control.follow_backend else None

    def _make_follower(self, store: ControlStore, degraded: dict[str, bool]) -> BackendFollower:
        """Makes the reader of the backend's own values. It asks the backend also where existence is not checked."""
        return BackendFollower(
            self._followed,
            Existence(self._last, region=self._at_start.region),
            accounts=lambda: [DEFAULT_ACCOUNT if name == "default" else name for name in self._settings().accounts],
            default_account=DEFAULT_ACCOUNT,
            make_headers=self._make_headers,
            check_destination=self._check_destination,
            make_slots=self._make_slots,
            own=lambda: store.state,
            put_in_force=lambda: store.put_in_force(store.state),
            degraded=degraded,
            interval_seconds=self._at_start.control.follow_interval_seconds,
        )

    def _make_slots(self, account: str, state: ControlState) -> AccountSlots:
        return AccountSlots(
            self._in_force.facts(account),
            state.functions(account),
            lambda name: self._in_force.file_values(account, name),
        )

    def _make_operations(self, store: ControlStore) -> ControlPlaneOperations:
        parts = ControlParts(
            store=store,
            existence=self._existence,
            settings=self._in_force,
            followed=self._followed,
            region=self._at_start.region,
            now=time,
        )
        return ControlPlaneOperations(
            parts,
            find_account=lambda account: self._limits().of(account).account,
            check_destination=self._check_destination,
            allocation_seconds=self._at_start.provisioned.allocation_seconds,
        )

    def _check_destination(self, arn: str) -> UnreachableDestination | None:
        settings = self._at_start
        target = find_target(arn, region=settings.region, sqs_endpoint=settings.control.sqs_endpoint)
        if isinstance(target, UnreachableDestination):
            return target
        missing = missing_extra([target])
        return None if missing is None else UnreachableDestination(missing)

    def _find_named_account(self, name: str) -> str | None:
        if name in ("default", DEFAULT_ACCOUNT):
            return DEFAULT_ACCOUNT
        return name if name in self._settings().accounts else None

    def _make_headers(self, account: str) -> Mapping[bytes, bytes]:
        return make_headers(account, self._settings())


def name_account(account: str) -> str:
    """Returns the name of an account in the settings."""
    return "default" if account == DEFAULT_ACCOUNT else account


def make_headers(account: str, settings: Settings) -> Mapping[bytes, bytes]:
    """Makes the headers of a request of the gateway's own. They name an account, as emulators read it, and are not
    signed."""
    name = name_account(account)
    keys = (key for key, owner in settings.credentials.items() if owner == name)
    date = strftime("%Y%m%dT%H%M%SZ", gmtime())
    scope = f"{date[:8]}/{settings.region}/lambda/aws4_request"
    credential = f"AWS4-HMAC-SHA256 Credential={next(keys, account)}/{scope}"
    return {
        b"authorization": f"{credential}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}".encode(),
        b"x-amz-date": date.encode(),
    }
