"""Connects every scenario to Locust: the common options, the run that watches, and a user that invokes.

The import hooks into Locust's events; each locustfile imports this.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gevent
import locust.stats
from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser

from loadtests.load.admin import AdminClient
from loadtests.load.judging import Answer, Expected, Verdict
from loadtests.load.run import Run

INVOKE_PATH = "/2015-03-31/functions/{}/invocations"
# The report's charts have a point for each of these; the default, 5 s, is half of a short run.
locust.stats.HISTORY_STATS_INTERVAL_SEC = 1


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    # What `make run` starts; and calls that run when the time is over are waited for, since they have slots.
    parser.set_defaults(host="http://127.0.0.1:9001", stop_timeout="15s")
    group = parser.add_argument_group("The gateway")
    group.add_argument(
        "--admin",
        default="127.0.0.1:9002",
        metavar="HOST:PORT",
        help="The gateway's admin listener, for /limits and /holds; `off` where there is none.",
    )
    group.add_argument(
        "--rates",
        choices=("on", "off"),
        default="on",
        help="`off`: the gateway has no request rates, and a refusal by one is a failure.",
    )
    group.add_argument(
        "--retry-after",
        choices=("on", "off"),
        default="on",
        help="`off`: refusals need not say Retry-After (AWS's own do not).",
    )
    group.add_argument(
        "--look-seconds", type=float, default=0.1, metavar="SECONDS", help="How often /limits is looked at."
    )
    # Locust's own --help is printed before the locustfile is read, and so without what the file adds.
    group.add_argument("--help-all", action="help", help="Show all options, with those of this file, and exit.")
    group.add_argument("--summary", metavar="FILE", help="Write how the run ended, as JSON.")


@events.test_start.add_listener
def _begin(environment: Environment, **_: Any) -> None:
    options = options_of(environment)
    admin = None if options.admin == "off" else AdminClient(options.admin)
    scenario = Path(environment.parsed_locustfiles[0]).stem if environment.parsed_locustfiles else "run"
    environment.gateway_run = Run(scenario, environment, admin, options.look_seconds)
    run_of(environment).begin()


@events.test_stop.add_listener
def _end(environment: Environment, **_: Any) -> None:
    run = run_of(environment)
    run.stop_watching()
    for user_class in environment.user_classes:
        if describe := getattr(user_class, "describe_run", None):
            run.notes += describe(run)
    outcome = run.end()
    if options_of(environment).summary:
        outcome.write(Path(options_of(environment).summary))
    for note in outcome.notes:
        print(note)


def options_of(environment: Environment) -> argparse.Namespace:
    assert environment.parsed_options is not None
    return environment.parsed_options


def run_of(environment: Environment) -> Run:
    """Returns the run that lasts, or the last one."""
    run: Run = environment.gateway_run
    return run


class InvokeUser(FastHttpUser):
    """Invokes functions. Each response is judged, and has a row of its own by function and `Reason`."""

    abstract = True
    network_timeout = 60.0

    @property
    def options(self) -> argparse.Namespace:
        return options_of(self.environment)

    @property
    def run_(self) -> Run:
        return run_of(self.environment)

    def expecting(self, **changes: Any) -> Expected:
        """Returns the options' expectations of every call, with these `changes` for this one."""
        options = self.options
        common = {"rated": options.rates == "on", "has_retry_after": options.retry_after == "on"}
        return Expected(**{**common, **changes})

    def invoke(
        self,
        function: str,
        event: bytes = b"{}",
        *,
        expected: Expected,
        headers: Mapping[str, str] | None = None,
        path: str = INVOKE_PATH,
        row: str | None = None,
        find_problem: Callable[[Answer], str | None] = lambda answer: None,
    ) -> tuple[Verdict, Answer]:
        """Makes one call, judges and counts it, and returns its verdict with the response.

        `row` names its line in the tables, in place of the function and the outcome. `find_problem` may find a problem
        in an otherwise expected response.
        """
        with self.client.request(
            "POST", path.format(function), name=function, data=event, headers=dict(headers or {}), catch_response=True
        ) as response:
            answer = _answer_of(response)
            verdict = self.run_.judge(answer, function, expected, row, find_problem)
            response.request_meta.update(name=verdict.row, request_type="Invoke")
            if verdict.problem is None:
                response.success()
            else:
                response.failure(verdict.problem)
        return verdict, answer

    def report(self, verdict: Verdict, function: str, began: float, size: int = 0) -> None:
        """Counts a call that was not made by `invoke`. `began` is a time of `time.perf_counter()`."""
        self.run_.count(verdict, function)
        self.environment.events.request.fire(
            request_type="Invoke",
            name=verdict.row,
            response_time=(time.perf_counter() - began) * 1000,
            response_length=size,
            exception=AssertionError(verdict.problem) if verdict.problem else None,
        )


class RoundsUser(InvokeUser):
    """Does `rounds` rounds of `do_round`. The run ends when all users have finished."""

    abstract = True
    fixed_count = 1
    at_work = 0

    def on_start(self) -> None:
        RoundsUser.at_work += 1

    @task
    def work(self) -> None:
        for _ in range(self.options.rounds):
            self.do_round()
        RoundsUser.at_work -= 1
        if not RoundsUser.at_work:
            assert self.environment.runner is not None
            gevent.spawn(self.environment.runner.quit)  # not here: it ends this greenlet too
        raise StopUser

    @classmethod
    def describe_run(cls, run: Run) -> list[str]:
        if RoundsUser.at_work:
            run.fail(f"{RoundsUser.at_work} users had not done all their rounds when the time was over")
            RoundsUser.at_work = 0
        return []

    def do_round(self) -> None:
        raise NotImplementedError  # each scenario has its own round


def _answer_of(response: Any) -> Answer:
    headers = {name.lower(): value for name, value in (response.headers or {}).items()}
    if not response.status_code:
        return Answer(0, headers, str(getattr(response, "error", "no answer")).encode())
    try:
        return Answer(response.status_code, headers, response.content or b"")
    except Exception as error:  # whatever cut the body
        return Answer(0, headers, repr(error).encode())
