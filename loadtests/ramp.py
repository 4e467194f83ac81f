"""Adds a few users at each step, and finds the knee: the last step at which nothing is refused.

    locust -f loadtests/ramp.py --steps 8 --users-per-step 4 --step-seconds 1.5

Each user has one call at a time. Up to as many users as slots, all calls are admitted. Above that, the rate of admitted
calls stays constant, and the rest is refused.
"""

from locust import LoadTestShape, between, events, task
from locust.argument_parser import LocustArgumentParser

from loadtests.load.knee import Step, describe_knee, find_knee
from loadtests.load.run import Run
from loadtests.load.users import InvokeUser, options_of


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    group = parser.add_argument_group("Ramp")
    group.add_argument("--function", default="sleep-search", help="The function that is called.")
    group.add_argument("--event", default='{"seconds": 0.1}', metavar="JSON", help="What it is called with.")
    group.add_argument("--steps", type=int, default=8, help="How many steps there are.")
    group.add_argument("--users-per-step", type=int, default=4, help="Users that each step adds.")
    group.add_argument("--step-seconds", type=float, default=1.5, help="How long a step lasts.")


class Ramp(LoadTestShape):
    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None
        options = options_of(self.runner.environment)
        step = int(self.get_run_time() / options.step_seconds) + 1
        if step > options.steps:
            return None
        return step * options.users_per_step, 1000.0


class RampUser(InvokeUser):
    wait_time = between(0.0, 0.1)

    def on_start(self) -> None:
        self.expected = self.expecting()

    @task
    def call(self) -> None:
        self.invoke(self.options.function, self.options.event.encode(), expected=self.expected)

    @classmethod
    def describe_run(cls, run: Run) -> list[str]:
        steps = Step.find_all(run.samples)
        if knee := find_knee(steps):
            run.marks[f"knee: {knee.users} users"] = knee.end
        return [describe_knee(steps)]
