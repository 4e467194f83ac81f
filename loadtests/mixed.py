"""Runs a realistic blend, with clients that retry as AWS's SDKs do, so that the load of retries is visible.

    locust -f loadtests/mixed.py --users 30 --reserved sleep-checkout

Some calls are long, some are short, some fail, some stream. Some are events, which are never refused for concurrency. A
refused call is retried up to twice, in botocore's `standard` mode, which honours `x-amz-retry-after`.
"""

import random

import gevent
from locust import between, events, task
from locust.argument_parser import LocustArgumentParser

from loadtests.load import retry
from loadtests.load.judging import Expected
from loadtests.load.run import Run
from loadtests.load.users import InvokeUser

STREAM_PATH = "/2021-11-15/functions/{}/response-streaming-invocations"


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    parser.set_defaults(num_users=40, spawn_rate=40)
    group = parser.add_argument_group("Mixed")
    group.add_argument("--reserved", default="sleep-checkout", help="A function with a reservation, which lasts.")
    group.add_argument("--unreserved", default="sleep-search", help="One without, which lasts.")
    group.add_argument("--short", default="echo", help="One that answers at once.")
    group.add_argument("--failing", default="fail", help="One that ends in a function error.")
    group.add_argument("--streaming", default="stream", help="One whose response is streamed.")
    group.add_argument(
        "--event", default='{"seconds": 0.2}', metavar="JSON", help="What the lasting ones are called with."
    )
    group.add_argument("--attempts", type=int, default=retry.MOST_ATTEMPTS, help="Attempts of one call, at most.")
    group.add_argument(
        "--back-off", type=float, default=0.2, metavar="FACTOR", help="An SDK's pauses times this; 1 is what SDKs do."
    )


class SdkUser(InvokeUser):
    wait_time = between(0.0, 0.2)
    given_up = 0

    def call(self, function: str, event: bytes, expected: Expected, path: str | None = None, type_: str = "") -> None:
        """Makes one call as an SDK does: retries throttles, then gives up."""
        most = self.options.attempts
        places = {} if path is None else {"path": path}
        kind = {"X-Amz-Invocation-Type": type_} if type_ else {}
        for attempt in range(1, most + 1):
            headers = {**retry.attempt_header(attempt, most), **kind}
            _, answer = self.invoke(function, event, expected=expected, headers=headers, **places)
            if not retry.may_retry(answer.status, attempt, most):
                SdkUser.given_up += answer.status == 429
                return
            dice = random.random()
            gevent.sleep(retry.pause_seconds(answer.status, attempt, answer.headers, dice, self.options.back_off))

    @task(6)
    def reserved(self) -> None:
        self.call(self.options.reserved, self.options.event.encode(), self.expecting())

    @task(6)
    def unreserved(self) -> None:
        self.call(self.options.unreserved, self.options.event.encode(), self.expecting())

    @task(4)
    def short(self) -> None:
        self.call(self.options.short, b'{"order": 17}', self.expecting())

    @task(1)
    def failing(self) -> None:
        self.call(self.options.failing, b"{}", self.expecting(function_error=True))

    @task(2)
    def streaming(self) -> None:
        self.call(self.options.streaming, b'{"chunks": 4, "seconds": 0.05}', self.expecting(), path=STREAM_PATH)

    @task(2)
    def queued(self) -> None:
        self.call(self.options.short, b"{}", self.expecting(status=202, throttled=False, rated=False), type_="Event")

    @classmethod
    def describe_run(cls, run: Run) -> list[str]:
        if run.admin is None:
            return [f"{cls.given_up} calls were given up after the last attempt"]
        retries = run.admin.metric("invoke_gateway_retry_requests_total")
        total = run.admitted + run.refused.total()
        share = retries / total if total else 0.0
        return [f"{retries:.0f} of {total} requests were retries ({share:.0%}); {cls.given_up} calls were given up"]
