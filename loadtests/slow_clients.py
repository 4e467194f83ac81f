"""Checks that a slow or departed client keeps a slot for exactly as long as the backend works.

    locust -f loadtests/slow_clients.py --rounds 3

Each of the three functions has a reservation of one slot. A probe, another call of the same function, shows the slot's
state:

- a slow upload has no slot: with half of it sent the probe is admitted;
- a slow reader has no slot: with the head of a long response read the backend has finished, so the probe is admitted;
- a client that hangs up leaves the slot taken: until the backend's call ends, the probe is refused.
"""

import time

import gevent
from locust import events
from locust.argument_parser import LocustArgumentParser

from loadtests.load.admin import AdminClient, in_flight_of
from loadtests.load.judging import ADMITTED, UNEXPECTED, Verdict
from loadtests.load.users import INVOKE_PATH, RoundsUser
from loadtests.load.wire import Wire

PIECE = 65_536


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    parser.set_defaults(num_users=3, spawn_rate=3)
    group = parser.add_argument_group("Slow clients (functions with a reservation of 1)")
    group.add_argument("--upload", default="echo-upload", help="The function that is uploaded to.")
    group.add_argument("--read", default="blob-read", help='One that returns as many bytes as {"bytes": n} says.')
    group.add_argument("--hang-up", default="sleep-hangup", help='One that lasts as long as {"seconds": s} says.')
    group.add_argument("--upload-bytes", type=int, default=262_144)
    group.add_argument("--read-bytes", type=int, default=6_000_000)
    group.add_argument("--pause-seconds", type=float, default=0.1, help="Pause between two pieces of 64 KiB.")
    group.add_argument("--seconds", type=float, default=1.0, help="How long the call lasts that is hung up on.")
    group.add_argument("--rounds", type=int, default=3, help="How often each is done.")


class SlowUploadUser(RoundsUser):
    def do_round(self) -> None:
        name, size = self.options.upload, self.options.upload_bytes
        body = b'"' + b"x" * (size - 2) + b'"'
        began = time.perf_counter()
        with Wire(self.host or "") as wire:
            wire.begin(INVOKE_PATH.format(name), size)
            half = size // 2
            for start in range(0, half, PIECE):
                wire.send(body[start : min(start + PIECE, half)])
                gevent.sleep(self.options.pause_seconds)
            row = "slow upload: probe at half of it"
            self.invoke(name, b'"probe"', expected=self.expecting(throttled=False), row=row)
            wire.send(body[half:])
            status, came = wire.head().status, len(read_to_end(wire))
        problem = (
            None if (status, came) == (200, size) else f"{status} with {came} bytes where 200 with {size} should be"
        )
        self.report(verdict("slow upload 200", problem), name, began, came)


class SlowReadUser(RoundsUser):
    def do_round(self) -> None:
        name, size = self.options.read, self.options.read_bytes
        event = b'{"bytes": %d}' % size
        began = time.perf_counter()
        with Wire(self.host or "", is_slow=True) as wire:
            wire.begin(INVOKE_PATH.format(name), len(event))
            wire.send(event)
            status = wire.head().status
            row = "slow read: probe while it lasts"
            self.invoke(name, b'{"bytes": 2}', expected=self.expecting(throttled=False), row=row)
            came = 0
            for _ in range(10):  # slowly, then the rest
                came += len(wire.read(PIECE))
                gevent.sleep(self.options.pause_seconds)
            wire.hurry()
            came += len(read_to_end(wire))
        problem = (
            None if (status, came) == (200, size) else f"{status} with {came} bytes where 200 with {size} should be"
        )
        self.report(verdict("slow read 200", problem), name, began, came)


class HangUpUser(RoundsUser):
    def do_round(self) -> None:
        name, seconds = self.options.hang_up, self.options.seconds
        event = b'{"seconds": %g}' % seconds
        began = time.perf_counter()
        with Wire(self.host or "") as wire:
            wire.begin(INVOKE_PATH.format(name), len(event))
            wire.send(event)
            self.wait_until_admitted(name)
        self.report(verdict("hang-up: client left", None), name, began)
        # The backend got the call after `began`, so it ends no earlier than this. An answer before must be a refusal.
        ends = began + seconds
        while time.perf_counter() < ends - 0.1:
            self.probe(name, ends)
            gevent.sleep(0.1)
        self.wait_until_free(name)
        row = "hang-up: probe after the backend's end"
        self.invoke(name, b'{"seconds": 0}', expected=self.expecting(throttled=False), row=row)

    def probe(self, name: str, ends: float) -> None:
        expected = self.expecting(admitted=True)
        row = "hang-up: probe while the backend works: 429"
        self.invoke(
            name,
            b'{"seconds": 0}',
            expected=expected,
            row=row,
            find_problem=lambda answer: too_early(answer.status, ends - time.perf_counter()),
        )

    def wait_until_admitted(self, name: str) -> None:
        self.wait_for(name, 1)

    def wait_until_free(self, name: str) -> None:
        self.wait_for(name, 0)

    def wait_for(self, name: str, count: int) -> None:
        """Waits until so many calls of the function are in flight, at most some seconds. Without /limits it waits a
        moment."""
        if self.run_.admin is None:
            gevent.sleep(self.options.seconds / 2 if count else self.options.seconds)
            return
        admin = AdminClient(self.run_.admin.address)
        deadline = time.perf_counter() + 10
        while in_flight_of(admin.account()).get(name, 0) != count and time.perf_counter() < deadline:
            gevent.sleep(0.01)
        admin.close()


def too_early(status: int, seconds_left: float) -> str | None:
    if status == 429 or seconds_left < 0:
        return None
    return "admitted before the backend can have ended the call that has the only slot"


def verdict(row: str, problem: str | None) -> Verdict:
    return Verdict(row, UNEXPECTED if problem else ADMITTED, "200", problem)


def read_to_end(wire: Wire) -> bytes:
    pieces = []
    while piece := wire.read(PIECE):
        pieces.append(piece)
    return b"".join(pieces)
