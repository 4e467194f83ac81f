"""Calls a function that a reservation of 0 switches off. Every call is refused, and none reaches the backend.

    locust -f loadtests/reserved_zero.py --function sleep-off --other sleep-search

Another function is called meanwhile, and all its calls must be admitted. The backend's own count, in these responses,
must never contain the function that is off.
"""

from locust import between, events, task
from locust.argument_parser import LocustArgumentParser

from loadtests.load.overlap import HEADER, read_running
from loadtests.load.users import InvokeUser


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    parser.set_defaults(num_users=12, spawn_rate=12)
    group = parser.add_argument_group("Reserved zero")
    group.add_argument("--function", default="sleep-off", help="The function whose reservation is 0.")
    group.add_argument("--other", default="sleep-search", help="One that is not off.")
    group.add_argument("--event", default='{"seconds": 0.1}', metavar="JSON", help="What both are called with.")


class RefusedUser(InvokeUser):
    weight = 3
    wait_time = between(0.0, 0.1)

    @task
    def call(self) -> None:
        expected = self.expecting(admitted=False)
        self.invoke(self.options.function, self.options.event.encode(), expected=expected)


class OtherUser(InvokeUser):
    wait_time = between(0.0, 0.1)

    @task
    def call(self) -> None:
        expected = self.expecting(throttled=False)
        _, answer = self.invoke(self.options.other, self.options.event.encode(), expected=expected)
        if self.options.function in read_running(answer.headers.get(HEADER, "all=0")):
            self.run_.fail(f"the backend runs {self.options.function}, whose reservation is 0")
