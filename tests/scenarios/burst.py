"""Five hundred clients at once before twenty slots, and everything goes wrong that can.

Clients leave before, during and after their call, or lose their patience; the backend answers, resets, breaks off or
hangs. A client that is refused tries again after a pause, so that the slots stay contended to the end. The backend
itself counts how many calls it really runs at once.

`python -m tests.scenarios.burst --seeds 20` runs it and prints a line for each seed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter
from contextlib import suppress
from enum import StrEnum
from time import perf_counter
from typing import NamedTuple

import msgspec
import uvloop

from tests.support.backends import OK, BackendCall, Gate, ScriptedBackend, response
from tests.support.clients import Client, Response, invoke, invoke_path, request
from tests.support.gateways import GatewayUnderTest, eventually, serving

CLIENTS = 500
LIMIT = 20
RESERVED = 5
ACCOUNT = "000000000000"
CEILINGS = {None: LIMIT, "checkout": RESERVED, "open": LIMIT - RESERVED}
REASONS = {
    "checkout": "ReservedFunctionConcurrentInvocationLimitExceeded",
    "open": "ConcurrentInvocationLimitExceeded",
}

# A hung function is ended by its own time-out; the gateway gives its slot back later, after backend.timeout_seconds.
# What lies between is for a busy machine: one event loop with a thousand connections reads both clocks.
FUNCTION_SECONDS = 0.1
TIMEOUT_SECONDS = 0.9

LONGEST_CALL_SECONDS = 0.03
RETRY_SECONDS = (0.02, 0.3)
ATTEMPTS = 25
# More than one read of a connection, so that a response can be left, or break off, in its middle.
RESULT = "r" * 400_000

SETTINGS = {
    "backend": {"timeout_seconds": TIMEOUT_SECONDS, "keep_alive_seconds": 0.5},
    "accounts": {
        "default": {
            "concurrent_executions": LIMIT,
            "requests_per_second": "off",
            "functions": {"checkout": {"reserved_concurrent_executions": RESERVED, "requests_per_second": "off"}},
        }
    },
}


class Manner(StrEnum):
    """What a client does."""

    STAYS = "stays"
    LEAVES_BEFORE = "leaves before"
    LEAVES_DURING = "leaves during"
    LEAVES_AFTER = "leaves after"
    LOSES_PATIENCE = "loses patience"


class Ending(StrEnum):
    """What the backend does."""

    ANSWERS = "answers"
    RESETS = "resets"
    BREAKS_OFF = "breaks off"
    HANGS = "hangs"


class Order(msgspec.Struct):
    """The payload of a call: the backend does as it says."""

    id: str
    seconds: float
    ending: Ending
    is_large: bool


class Outcome(NamedTuple):
    """What one seed came to. `wrong` is what must not have happened."""

    seed: int
    calls: int
    answers: Counter[str]
    highest: dict[str | None, int]
    wrong: list[str]
    seconds: float


class Burst:
    """One run: its backend, its gateway, and a plan that depends on nothing but the seed."""

    def __init__(self, seed: int, backend: ScriptedBackend, gateway: GatewayUnderTest) -> None:
        self.backend = backend
        self.gateway = gateway
        self.dice = random.Random(seed)
        self.answers: Counter[str] = Counter()
        self.arrived: Counter[str] = Counter()
        self.arrivals: dict[str, asyncio.Event] = {}
        self.calls = 0
        self.wrong: list[str] = []
        backend.script = self.serve

    # The backend.

    async def serve(self, call: BackendCall) -> None:
        order = msgspec.json.decode(call.body, type=Order)
        self.arrived[order.id] += 1
        self.arrivals[order.id].set()
        await asyncio.sleep(order.seconds)
        if order.ending is Ending.RESETS:
            call.reset()
        elif order.ending is Ending.BREAKS_OFF:
            await call.send(OK + b"Content-Length: 500000\r\n\r\n" + RESULT.encode())
            call.close()
        elif order.ending is Ending.HANGS:
            await asyncio.sleep(FUNCTION_SECONDS)
            call.end()  # and says nothing, for ever
        else:
            whole = response(200, self.result_of(order))
            if order.is_large:  # the call goes on after its head, and after most of its body
                await call.send(whole[:300_000])
                await asyncio.sleep(order.seconds)
                whole = whole[300_000:]
            call.end()
            call.write(whole)

    def result_of(self, order: Order) -> bytes:
        return msgspec.json.encode({"id": order.id, "result": RESULT if order.is_large else ""})

    # The clients.

    async def run(self) -> None:
        clients = []
        for number in range(CLIENTS):
            function = "checkout" if self.dice.random() < 0.4 else "open"
            (manner,) = self.dice.choices(list(Manner), (60, 8, 12, 8, 12))
            dice = random.Random(self.dice.random())
            clients.append(self.behave(number, function, manner, dice))
        await asyncio.gather(*clients)

    async def behave(self, number: int, function: str, manner: Manner, dice: random.Random) -> None:
        """Call until the call is admitted, or for as many attempts as a client makes."""
        for attempt in range(ATTEMPTS):
            (ending,) = dice.choices(list(Ending), (82, 8, 7, 3))
            is_large = manner is Manner.LEAVES_AFTER or dice.random() < 0.2
            order = Order(f"{number}.{attempt}", dice.uniform(0, LONGEST_CALL_SECONDS), ending, is_large)
            self.arrivals[order.id] = asyncio.Event()
            self.calls += 1
            async with Client(self.gateway.listen) as client:
                answer = await self.call(client, function, manner, order, dice)
            if answer is None:
                self.answers["left"] += 1
                return
            if answer.status != 429:
                self.check(answer, function, order)
                return
            self.check(answer, function, order)
            await asyncio.sleep(dice.uniform(*RETRY_SECONDS))
        self.answers["gave up"] += 1

    async def call(
        self, client: Client, function: str, manner: Manner, order: Order, dice: random.Random
    ) -> Response | None:
        """One call; `None` when the client has left before it knew the answer."""
        whole = request(invoke_path(function), msgspec.json.encode(order))
        leave = dice.choice((client.hang_up, client.reset))
        if manner is Manner.LEAVES_BEFORE:
            await client.send(whole[: dice.randrange(len(whole))])
            await asyncio.sleep(dice.uniform(0, LONGEST_CALL_SECONDS))
            leave()
            return None
        await client.send(whole)
        if manner is Manner.STAYS:
            return await client.read_response()
        reading = asyncio.create_task(client.read_response())
        try:
            if manner is Manner.LEAVES_DURING:
                arrival = asyncio.create_task(self.arrivals[order.id].wait())
                await asyncio.wait([arrival, reading], return_when=asyncio.FIRST_COMPLETED)
                arrival.cancel()
            elif manner is Manner.LOSES_PATIENCE:
                await asyncio.wait([reading], timeout=dice.uniform(0, 2 * LONGEST_CALL_SECONDS))
            else:
                reading.cancel()
                head = await client.read_head()
                if head.status == 429:
                    return head._replace(body=await client.reader.readexactly(int(head.header("content-length") or 0)))
                leave()
                return None
            if reading.done():
                return reading.result()
            leave()
            return None
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
                await reading

    def check(self, answer: Response, function: str, order: Order) -> None:
        """Whether `answer` is one that this call may get."""
        self.answers[str(answer.status)] += 1
        error = None
        if not answer.is_whole:
            error = "is cut"
        elif answer.status == 200:
            if order.ending is not Ending.ANSWERS or answer.body != self.result_of(order):
                error = "is another call's"
        elif answer.status == 429:
            if answer.json()["Reason"] != REASONS[function]:
                error = "has the wrong Reason"
            if self.arrived[order.id]:
                error = "was refused and run"
        elif answer.status != 500 or order.ending is Ending.ANSWERS:
            error = "has no reason"
        elif answer.header("x-amzn-errortype") != "ServiceException" or answer.json()["Type"] != "Service":
            error = "is not in Lambda's shape"
        if error is not None:
            self.wrong.append(f"the answer to {order} {error}: {answer.status} {answer.body[:200]!r}")

    # Afterwards.

    async def check_is_over(self) -> None:
        """Nothing is held anywhere, and every slot can be had again: none is lost, none is there twice."""
        twice = [call for call, count in self.arrived.items() if count > 1]
        if twice:
            self.wrong.append(f"sent twice to the backend: {twice}")
        try:
            await self.gateway.settled(timeout=5)
            if (await self.gateway.limits())["in_flight"] != 0:
                self.wrong.append("/limits does not show 0 in flight")
            await self.check_every_slot_is_there()
        except (AssertionError, TimeoutError) as error:
            self.wrong.append(f"afterwards: {error!r}")
        for function, ceiling in CEILINGS.items():
            highest = self.backend.highest[ACCOUNT, function]
            if highest != ceiling:
                self.wrong.append(f"{function or 'the account'} ran {highest} at once where {ceiling} may and can")

    async def check_every_slot_is_there(self) -> None:
        self.backend.script = gate = Gate()
        before = len(self.backend.requests)
        functions = ["checkout"] * RESERVED + ["open"] * (LIMIT - RESERVED)
        calls = [asyncio.create_task(invoke(self.gateway.listen, function)) for function in functions]
        try:
            await self.backend.until(lambda backend: len(backend.requests) == before + LIMIT, timeout=5)
            for function, reason in REASONS.items():
                answer = await asyncio.wait_for(invoke(self.gateway.listen, function), 5)
                assert (answer.status, answer.json().get("Reason")) == (429, reason), "one slot too many"
        finally:
            gate.open()
            await asyncio.gather(*calls)
        await self.gateway.settled(timeout=5)


async def run_burst(seed: int) -> Outcome:
    started = perf_counter()
    async with ScriptedBackend() as backend, serving(backend.url, **SETTINGS) as gateway:
        burst = Burst(seed, backend, gateway)
        await burst.run()
        await burst.check_is_over()
        await eventually(lambda: not gateway.client_connections, "all clients have gone")
        highest = {function: backend.highest[ACCOUNT, function] for function in CEILINGS}
    return Outcome(seed, burst.calls, burst.answers, highest, burst.wrong, perf_counter() - started)


_COLUMNS = ("200", "429", "500", "left", "gave up")


def print_head() -> None:
    columns = "".join(f"{name:>9}" for name in _COLUMNS)
    print(f"{'seed':>4}{'calls':>8}{columns}{'at once':>12}{'in flight':>11}{'wrong':>7}{'seconds':>9}")


def print_outcome(outcome: Outcome) -> None:
    columns = "".join(f"{outcome.answers[name]:>9}" for name in _COLUMNS)
    at_once = "/".join(str(count) for count in outcome.highest.values())
    in_flight = "?" if any("afterwards" in what for what in outcome.wrong) else "0"
    print(
        f"{outcome.seed:>4}{outcome.calls:>8}{columns}{at_once:>12}{in_flight:>11}{len(outcome.wrong):>7}"
        f"{outcome.seconds:>9.1f}",
        flush=True,
    )
    for what in outcome.wrong[:5]:
        print(f"     {what}")


def main() -> int:
    """Exit status 0 when nothing went wrong in any seed."""
    parser = argparse.ArgumentParser(description="Bursts with faults on both sides, a line for each seed.")
    parser.add_argument("--seeds", type=int, default=20, help="how many bursts (20)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    arguments = parser.parse_args()
    print(f"{CLIENTS} clients, {LIMIT} slots, {RESERVED} of them reserved for checkout")
    print("at once: what the backend itself saw of the account, of checkout and of the others")
    print_head()
    failed = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        outcome = uvloop.run(run_burst(seed))
        print_outcome(outcome)
        failed += bool(outcome.wrong)
    print(f"{arguments.seeds - failed} of {arguments.seeds} seeds without a fault")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
