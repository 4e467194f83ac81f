"""Runs square waves far above the limit, on a function with a reservation and on one without.

    locust -f loadtests/burst.py --users 80 --wave-seconds 2 --on 0.5

All users begin a wave in the same moment, and call repeatedly until it ends. No more calls than the ceilings may get
through, and each refusal must have the reason of its own function.
"""

import time

from locust import events, task
from locust.argument_parser import LocustArgumentParser

from loadtests.load.users import InvokeUser


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    parser.set_defaults(num_users=60, spawn_rate=60)
    group = parser.add_argument_group("Burst")
    group.add_argument("--reserved", default="sleep-checkout", help="A function with a reservation.")
    group.add_argument("--unreserved", default="sleep-search", help="A function without one.")
    group.add_argument("--event", default='{"seconds": 0.2}', metavar="JSON", help="What they are called with.")
    group.add_argument("--wave-seconds", type=float, default=2.0, help="From the start of a wave to that of the next.")
    group.add_argument("--on", type=float, default=0.5, metavar="SHARE", help="The part of it in which calls are made.")
    group.add_argument(
        "--pause-seconds", type=float, default=0.05, help="A user's pause after a call. Less load on its machine."
    )


class BurstUser(InvokeUser):
    number = 0

    def on_start(self) -> None:
        BurstUser.number += 1
        options = self.options
        self.function = (options.reserved, options.unreserved)[BurstUser.number % 2]
        self.expected = self.expecting()

    def wait_time(self) -> float:
        options = self.options
        into = time.time() % options.wave_seconds
        is_on = into < options.on * options.wave_seconds
        return options.pause_seconds if is_on else options.wave_seconds - into

    @task
    def call(self) -> None:
        self.invoke(self.function, self.options.event.encode(), expected=self.expected)
