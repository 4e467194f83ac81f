"""Plans the events of a seed: functions with limits of their own, and how each run ends."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from ..quotas import DEFAULT_ACCOUNT, AccountQuota
from ..target import write_settings

OTHER_ACCOUNT = "111122223333"
TIMEOUT_SECONDS = 20.0  # of the gateway's backend; no function runs that long
DRAIN_SECONDS = 10
# Short, so that a seed is; the rules are the same.
FUNCTION_ERROR_DELAYS = (0.2, 0.4)
SHORTEST_DELAY, LONGEST_DELAY = 0.05, 1.0


class RunEnding(StrEnum):
    """The ending of a run."""

    SUCCESS = "success"
    ERROR = "function error"
    BROKEN = "system error (500)"
    THROTTLED = "throttle (429)"
    RESET = "connection reset"


SYSTEM_ENDINGS = (RunEnding.BROKEN, RunEnding.THROTTLED, RunEnding.RESET)


class ScriptFunction(NamedTuple):
    """`weight`: its part of the events. `reserved`: `None` where it shares the pool. `retries`: after function errors.
    `errors` and `troubles`: how many function and system errors an event has at most before it succeeds; a function
    that `always_fails` never does. `is_told`: whether it has a dead-letter queue and an `on_failure` destination."""

    account: str
    name: str
    weight: int
    reserved: int | None = None
    retries: int = 2
    errors: int = 0
    troubles: int = 0
    always_fails: bool = False
    has_destinations: bool = False
    seconds: tuple[float, float] = (0.0, 0.004)
    sizes: tuple[int, int] = (0, 300)

    @property
    def is_closed(self) -> bool:
        return self.reserved == 0


FUNCTIONS = (
    ScriptFunction(DEFAULT_ACCOUNT, "plain", 395),
    ScriptFunction(DEFAULT_ACCOUNT, "flaky", 80, reserved=3, errors=2),
    ScriptFunction(DEFAULT_ACCOUNT, "troubled", 80, errors=1, troubles=3),
    ScriptFunction(DEFAULT_ACCOUNT, "slow", 50, reserved=4, seconds=(0.005, 0.12)),
    ScriptFunction(DEFAULT_ACCOUNT, "long", 5, reserved=3, seconds=(0.5, 2.0)),
    ScriptFunction(DEFAULT_ACCOUNT, "failing", 40, reserved=2, retries=1, always_fails=True, has_destinations=True),
    ScriptFunction(DEFAULT_ACCOUNT, "failing-at-once", 20, retries=0, always_fails=True, has_destinations=True),
    ScriptFunction(DEFAULT_ACCOUNT, "closed", 30, reserved=0, has_destinations=True),
    ScriptFunction(DEFAULT_ACCOUNT, "large", 10, sizes=(50_000, 900_000)),
    ScriptFunction(OTHER_ACCOUNT, "plain", 250),
    ScriptFunction(OTHER_ACCOUNT, "slow", 40, reserved=2, seconds=(0.005, 0.06)),
)
SLOTS = {DEFAULT_ACCOUNT: 19, OTHER_ACCOUNT: 5}
ACCOUNTS = [
    AccountQuota(
        account, slots, {f.name: f.reserved for f in FUNCTIONS if f.account == account and f.reserved is not None}
    )
    for account, slots in SLOTS.items()
]


class Intent(NamedTuple):
    """The plan of one event: its payload's bytes beside its id, the time that each run takes, the ending of each
    run. Runs beyond `endings` succeed, or fail where the function always does."""

    function: ScriptFunction
    size: int
    seconds: float
    endings: tuple[RunEnding, ...]

    def ending(self, run: int) -> RunEnding:
        """Returns the ending of a run, counted from 0."""
        if run < len(self.endings):
            return self.endings[run]
        return RunEnding.ERROR if self.function.always_fails else RunEnding.SUCCESS


def write_intents(rng: Random, events: int) -> Iterator[Intent]:
    weights = [function.weight for function in FUNCTIONS]
    for function in rng.choices(FUNCTIONS, weights, k=events):
        errors = [RunEnding.ERROR] * rng.randint(0, function.errors)
        endings = errors + rng.choices(SYSTEM_ENDINGS, k=rng.randint(0, function.troubles))
        rng.shuffle(endings)
        yield Intent(function, rng.randint(*function.sizes), rng.uniform(*function.seconds), tuple(endings))


class OutcomeFiles(NamedTuple):
    """The files of JSON lines to which the gateways write the outcomes of failed events."""

    dead_letters: Path
    failures: Path


def write_event_settings(backend_url: str, store: str, files: OutcomeFiles) -> dict[str, Any]:
    """Returns the settings of a gateway for this script."""
    settings = write_settings(ACCOUNTS, backend_url, TIMEOUT_SECONDS)
    for function in FUNCTIONS:
        of_account = settings["accounts"]["default" if function.account == DEFAULT_ACCOUNT else function.account]
        row = of_account["functions"].setdefault(function.name, {"requests_per_second": "off"})
        row["maximum_retry_attempts"] = function.retries
        if function.has_destinations:
            row["dead_letter_queue"] = f"file://{files.dead_letters}"
            row["on_failure"] = f"file://{files.failures}"
    settings["drain_seconds"] = DRAIN_SECONDS
    settings["async"] = {
        "mode": "queue",
        "store": store,
        "function_error_delays_seconds": list(FUNCTION_ERROR_DELAYS),
        "shortest_delay_seconds": SHORTEST_DELAY,
        "longest_delay_seconds": LONGEST_DELAY,
    }
    return settings
