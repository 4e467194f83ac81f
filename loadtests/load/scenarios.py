"""Defines the scenarios of `make load`: of each the gateway's settings and Locust's."""

from __future__ import annotations

from dataclasses import dataclass

_SMALL = ("--concurrent-executions=20", "--reserve=sleep-checkout=8")
_UNRATED = ("--requests-per-second=off",)


@dataclass(frozen=True)
class Scenario:
    """Defines one scenario. `gateway`: flags of `invoke-gateway serve`. `locust`: flags of the locustfile of this name.
    `seconds`: its approximate length, without start and end."""

    name: str
    question: str
    gateway: tuple[str, ...]
    locust: tuple[str, ...]
    seconds: float

    @property
    def is_timed(self) -> bool:
        """Returns True if only a time limit ends it; the others end by themselves."""
        return self.name not in ("ramp", "payloads", "slow_clients")


SCENARIOS = (
    Scenario(
        "steady",
        "as many callers as slots: is anything refused?",
        (*_SMALL, *_UNRATED),
        ("--rates=off", "--users=8"),
        seconds=6,
    ),
    Scenario(
        "burst",
        "60 callers in waves against 20 slots: do too many get through?",
        (*_SMALL, *_UNRATED),
        ("--rates=off", "--users=60"),
        seconds=8,
    ),
    Scenario(
        "ramp",
        "four more callers at each step, 12 slots: where is the knee?",
        ("--concurrent-executions=12", *_UNRATED),
        ("--rates=off", "--steps=8", "--users-per-step=4", "--step-seconds=1.5"),
        seconds=12,
    ),
    Scenario(
        "noisy_neighbour",
        "one function floods the pool: who loses calls?",
        ("--concurrent-executions=20", "--reserve=sleep-checkout=6", *_UNRATED),
        ("--rates=off", "--users=50", "--reserved-users=6", "--bystander-users=4"),
        seconds=8,
    ),
    Scenario(
        "reserved_zero",
        "a function with a reservation of 0: does a call reach the backend?",
        ("--concurrent-executions=6", "--reserve=sleep-off=0", *_UNRATED),
        ("--rates=off", "--users=12"),
        seconds=4,
    ),
    Scenario(
        "payloads",
        "exactly at each quota, and one byte above: is the answer right?",
        ("--concurrent-executions=2", "--quotas-streamed-response=20971520", *_UNRATED),
        ("--rates=off", "--streamed-response-quota=20971520", "--rounds=10", "--look-seconds=0.02"),
        seconds=3,
    ),
    Scenario(
        "slow_clients",
        "slow upload, slow read, hang-up: is a slot held just as long as the backend works?",
        (
            "--concurrent-executions=4",
            "--reserve=echo-upload=1",
            "--reserve=blob-read=1",
            "--reserve=sleep-hangup=1",
            *_UNRATED,
        ),
        ("--rates=off", "--rounds=3", "--look-seconds=0.02"),
        seconds=4,
    ),
    Scenario(
        "mixed",
        "a blend of calls, tried again as SDKs do, with request rates: how much load are retries?",
        (*_SMALL, "--requests-per-second=80"),
        ("--users=40",),
        seconds=9,
    ),
)


def choose(names: tuple[str, ...]) -> list[Scenario]:
    """Returns the scenarios with these names, or all. Raises ValueError that names all scenarios."""
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    if unknown := [name for name in names if name not in by_name]:
        raise ValueError(f"no scenario is called {', '.join(unknown)}: there are {', '.join(by_name)}")
    return [by_name[name] for name in names] or list(SCENARIOS)
