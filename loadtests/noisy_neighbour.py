"""Floods the pool with one function without a reservation, and measures the losses of the other functions.

    locust -f loadtests/noisy_neighbour.py --reserved-users 6

The function with a reservation must lose nothing: it has no more users than slots, so each of its calls must be
admitted. The other function without a reservation shares the pool with the flood. The figures show its losses.
"""

from typing import Any

from locust import between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from loadtests.load.run import Run
from loadtests.load.users import InvokeUser, options_of


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    parser.set_defaults(num_users=50, spawn_rate=50)
    group = parser.add_argument_group("Noisy neighbour")
    group.add_argument("--noisy", default="sleep-noise", help="The function that floods the pool.")
    group.add_argument("--reserved", default="sleep-checkout", help="The one with a reservation.")
    group.add_argument("--bystander", default="sleep-search", help="Another one without.")
    group.add_argument("--reserved-users", type=int, default=6, help="Its users; at most as many as its slots.")
    group.add_argument("--bystander-users", type=int, default=4, help="Users of the other one.")
    group.add_argument("--event", default='{"seconds": 0.15}', metavar="JSON", help="What all are called with.")


@events.init.add_listener
def count_users(environment: Environment, **_: Any) -> None:
    options = options_of(environment)
    ReservedUser.fixed_count = options.reserved_users
    BystanderUser.fixed_count = options.bystander_users


class NoisyUser(InvokeUser):
    wait_time = between(0.0, 0.1)

    @task
    def call(self) -> None:
        self.invoke(self.options.noisy, self.options.event.encode(), expected=self.expecting())


class ReservedUser(InvokeUser):
    fixed_count = 6
    wait_time = between(0.0, 0.05)

    @task
    def call(self) -> None:
        self.invoke(self.options.reserved, self.options.event.encode(), expected=self.expecting(throttled=False))


class BystanderUser(InvokeUser):
    fixed_count = 4
    wait_time = between(0.0, 0.2)

    @task
    def call(self) -> None:
        self.invoke(self.options.bystander, self.options.event.encode(), expected=self.expecting())

    @classmethod
    def describe_run(cls, run: Run) -> list[str]:
        options = options_of(run.environment)
        return [
            f"{name} lost {run.share_refused(name):.0%} of its calls"
            for name in (options.reserved, options.bystander, options.noisy)
        ]
