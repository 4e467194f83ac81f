"""Composes the reading of outside concurrency: the slots of callers that do not pass the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..background import BackgroundTask, BackgroundTasks
from ..counters.base import Counters, SharedState
from ..outside.base import OutsideSource
from ..outside.cloudwatch import CloudWatchConcurrency, LambdaMetric
from ..outside.command import CommandConcurrency
from ..outside.watch import OutsideWatch
from ..policy.counter_names import account_counter
from ..policy.limits import DEFAULT_ACCOUNT
from ..settings import Settings

_COMMAND, _PROFILE = "command:", "profile:"


class OutsideCallers:
    """Watches the sources that the settings name. Where they name none, no task runs.

    put_in_force: has the limits made again
    """

    def __init__(
        self,
        settings: Settings,
        counters: Counters,
        shared: SharedState | None,
        tasks: BackgroundTasks,
        put_in_force: Callable[[], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._shared = shared
        self._tasks = tasks
        self._task: BackgroundTask | None = None
        self.watch = OutsideWatch(
            make_source=self._make_source,
            count_own=self._count_own,
            refresh_own=None if shared is None else shared.read_sums,
            put_in_force=put_in_force,
            degraded=tasks.degraded,
        )

    async def adopt(self, settings: Settings) -> None:
        """Follows the settings in force."""
        self._settings = settings
        sources = find_sources(settings)
        self.watch.follow(sources)
        if sources and self._task is None:
            self._task = self._tasks.start(self.watch.run, "outside concurrency")
        elif not sources:
            await self.close()

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await task.close()

    def _make_source(self, account: str, name: str) -> OutsideSource:
        if name.startswith(_COMMAND):
            return CommandConcurrency(name.removeprefix(_COMMAND))
        signing = self._settings.signing
        credentials = "default" if signing is None else signing.credentials
        profile = credentials.removeprefix(_PROFILE) if credentials.startswith(_PROFILE) else None
        return CloudWatchConcurrency(LambdaMetric(self._settings.region, profile))

    def _count_own(self, account: str) -> int:
        counter = account_counter(account)
        here = self._counters.in_use(counter)
        return here if self._shared is None else max(here, self._shared.sums.get(counter, 0))


def find_sources(settings: Settings) -> dict[str, tuple[str, float]]:
    """Returns the source and the interval (seconds) of each account of which the number is read."""
    return {
        DEFAULT_ACCOUNT if name == "default" else name: (account.outside_concurrency, account.outside_interval_seconds)
        for name, account in settings.accounts.items()
        if isinstance(account.outside_concurrency, str)
    }
