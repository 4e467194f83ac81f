"""Runs as many users as there are slots, each with one call at a time. Nothing may be refused.

    locust -f loadtests/steady.py --users 8 --function sleep-checkout

A slot is free before its caller has the response. So with no more users than slots, a single refusal is a failure.
"""

from locust import between, events, task
from locust.argument_parser import LocustArgumentParser

from loadtests.load.users import InvokeUser


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    parser.set_defaults(num_users=8, spawn_rate=8)
    group = parser.add_argument_group("Steady")
    group.add_argument("--function", default="sleep-checkout", help="The function that is called.")
    group.add_argument("--event", default='{"seconds": 0.1}', metavar="JSON", help="What it is called with.")


class SteadyUser(InvokeUser):
    wait_time = between(0.0, 0.05)

    def on_start(self) -> None:
        self.expected = self.expecting(throttled=False)

    @task
    def call(self) -> None:
        self.invoke(self.options.function, self.options.event.encode(), expected=self.expected)
