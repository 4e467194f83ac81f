"""A proof from start to verdict: seed after seed, round after round, each round ending in quiet."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic

from .backend import Backend
from .clients import Manner, Target, invoke
from .faults import Fault
from .ledger import Call, Ending, Ledger
from .phases import Phases
from .progress import Progress
from .quiet import Quiet
from .quotas import Account, Unusable, read_accounts
from .subject import OWN_ACCOUNTS, OWN_TIMEOUT_SECONDS, Died, Silent, Subject, find_reason_to_wait, started
from .verdict import SeedResult, Verdict, sum_up
from .wire import Endpoint

# Where nothing is said of the gateway's time-out it may be AWS's 900 s: then no backend hangs, and half of this is only
# the time after which our functions count as ended. The gateway's must be at or above it.
UNKNOWN_TIMEOUT_SECONDS = 10.0
LONGEST_TIMEOUT_SECONDS = 30.0
CLIENTS = 500

ANY_PORT = Endpoint("127.0.0.1", 0)


@dataclass(frozen=True)
class Plan:
    """What to prove. `gateway` and `operations`: a running gateway, which forwards to `backend_listen`; without them
    one is started, whose `accounts` and `timeout_seconds` these are. `seconds`: for all seeds together; each has at
    least one round. `clients`: of the burst, on the largest account."""

    seeds: Sequence[int]
    seconds: float = 0.0
    clients: int = CLIENTS
    gateway: Endpoint | None = None
    operations: Endpoint | None = None
    backend_listen: Endpoint = ANY_PORT
    timeout_seconds: float | None = None
    accounts: Sequence[Account] = tuple(OWN_ACCOUNTS)


async def prove(plan: Plan, progress: Progress) -> Verdict:
    """Run the plan. Raises `Unusable` where the gateway cannot be judged; a gateway of ours that dies is a fault."""
    _allow_many_sockets()
    backend = Backend(Ledger([], 1, 1))
    try:
        url = await backend.start(*plan.backend_listen)
    except OSError as error:
        raise Unusable(f"cannot listen on {plan.backend_listen} ({error.strerror}): choose another address") from None
    try:
        async with _subject(plan, backend, url) as (subject, accounts):
            return await Proof(plan, progress, backend, subject, accounts).run()
    finally:
        await backend.stop()


@contextlib.asynccontextmanager
async def _subject(plan: Plan, backend: Backend, url: str) -> AsyncIterator[tuple[Subject, list[Account]]]:
    if plan.gateway is None or plan.operations is None:
        seconds = plan.timeout_seconds or OWN_TIMEOUT_SECONDS
        async with started(url, list(plan.accounts), seconds) as subject:
            yield subject, read_accounts(await subject.fetch_limits())
        return
    subject = Subject(plan.gateway, plan.operations, plan.timeout_seconds, lambda: None)
    limits = await subject.fetch_limits()
    reason = find_reason_to_wait(limits)
    if reason is not None:
        raise Unusable(reason)
    accounts = read_accounts(limits)
    await _check_the_way(subject, accounts, backend, url)
    yield subject, accounts


async def _check_the_way(subject: Subject, accounts: list[Account], backend: Backend, url: str) -> None:
    """A call of each account must come to our backend, and count in that account. Raises `Unusable`."""
    seconds = UNKNOWN_TIMEOUT_SECONDS
    for account in accounts:
        lane = next((lane for lane in account.lanes if lane.ceiling), None)
        if lane is None:
            continue
        backend.ledger = ledger = Ledger(accounts, seconds, seconds)
        backend.gate = asyncio.Event()
        call = Call(f"probe.{account.account}", lane, lane.functions[0], ending=Ending.WAITS)
        task = asyncio.create_task(invoke(Target(subject.invoke, ledger), call, Manner.STAYS, Random(0)))
        arrival = asyncio.ensure_future(call.arrived.wait())
        await asyncio.wait([task, arrival], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        arrival.cancel()
        limits = await subject.fetch_limits() if call.arrivals else {"accounts": []}
        backend.gate.set()
        if not call.arrivals:
            task.cancel()
            said = next((example for examples in ledger.faults.examples.values() for example in examples), "no answer")
            raise Unusable(
                f"a call to {subject.invoke} did not come to prove's backend ({said}): start that gateway with "
                f"--backend {url}, and give its Invoke API as --gateway"
            )
        await task
        counted = [row["account"] for row in limits["accounts"] if row["in_flight"] == 1]
        if counted != [account.account]:
            raise Unusable(
                f"a call of account {account.account} counts in {', '.join(counted) or 'none'} at http://"
                f"{subject.operations}/limits: give --gateway and --operations of one gateway, which nobody else uses"
            )


class Proof:
    def __init__(
        self, plan: Plan, progress: Progress, backend: Backend, subject: Subject, accounts: list[Account]
    ) -> None:
        self.plan = plan
        self.progress = progress
        self.backend = backend
        self.subject = subject
        self.accounts = accounts
        self.hangs = subject.timeout_seconds is not None and subject.timeout_seconds <= LONGEST_TIMEOUT_SECONDS
        # Without hangs the gateway's time-out plays no part, as long as it is longer than this.
        self.timeout_seconds = (
            subject.timeout_seconds if self.hangs and subject.timeout_seconds else UNKNOWN_TIMEOUT_SECONDS
        )

    async def run(self) -> Verdict:
        results: list[SeedResult] = []
        share = self.plan.seconds / len(self.plan.seeds)
        with self.progress:
            for seed in self.plan.seeds:
                result, is_over = await self._run_seed(seed, share)
                results.append(result)
                self.progress.end_seed(result)
                if is_over:
                    break
        return Verdict(self._describe(), results, self._notes(results))

    async def _run_seed(self, seed: int, share: float) -> tuple[SeedResult, bool]:
        """The seed's result, and whether the gateway is dead."""
        # Half of the gateway's time-out: what a slow event loop takes off the gateway's own is far less.
        ledger = Ledger(self.accounts, self.timeout_seconds / 2, self.timeout_seconds)
        self.backend.ledger = ledger
        began = monotonic()
        phases: list[tuple[str, float]] = []
        try:
            round = 0
            # Another round when it would bring the end nearer to the share than it is now.
            while round == 0 or (monotonic() - began) * (1 + 0.5 / round) < share:
                round += 1
                await self._run_round(seed, round, ledger, began, phases)
        except (Died, Silent) as error:
            ledger.faults.add(Fault.DIED, str(error))
            return sum_up(seed, ledger, began, phases), True
        return sum_up(seed, ledger, began, phases), False

    async def _run_round(
        self, seed: int, round: int, ledger: Ledger, began: float, phases: list[tuple[str, float]]
    ) -> None:
        target = Target(self.subject.invoke, ledger)
        script = Phases(target, self.accounts, seed, round, clients=self.plan.clients, hangs=self.hangs)
        quiet = Quiet(target, self.backend, self.accounts, f"{seed}.{round}", self.subject.fetch_limits)
        steps = {
            "at the limit": script.at_the_limit,
            "burst": script.burst,
            "hostile": script.hostile,
            "quiet": quiet.check,
        }
        for name, step in steps.items():
            phases.append((name, monotonic() - began))
            self.progress.begin(seed, round, name, ledger)
            await step()
            self.subject.check()
            self.progress.end()
            if ledger.rate_refusals and self.plan.gateway is not None:
                raise Unusable(
                    "the gateway refused calls by a request rate, and what a rate refuses tells nothing about slots: "
                    "set requests_per_second to off, of its accounts and of their functions"
                )

    def _describe(self) -> str:
        if self.plan.gateway is not None:
            return f"the gateway at {self.plan.gateway}"
        return "a gateway started for this (python -m gateway serve)"

    def _notes(self, results: list[SeedResult]) -> list[str]:
        notes = []
        if not self.hangs:
            notes.append("No backend hung: --backend-timeout was not given, or is above 30 s.")
        if len(results) < len(self.plan.seeds):
            left = len(self.plan.seeds) - len(results)
            notes.append(f"The gateway ended by itself: {left} seed{'s were' if left > 1 else ' was'} not run.")
        return notes


def _allow_many_sockets() -> None:
    """As many open files as this process may have: every client and every slot needs one."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(plan: Plan, progress: Progress) -> Verdict:
    """`prove` on an event loop of its own. Raises `asyncio.CancelledError` after SIGTERM."""
    try:
        import uvloop
    except ImportError:  # uvloop has no build for this platform
        return asyncio.run(_prove_until_told(plan, progress))
    verdict: Verdict = uvloop.run(_prove_until_told(plan, progress))
    return verdict


async def _prove_until_told(plan: Plan, progress: Progress) -> Verdict:
    """SIGTERM ends it as Ctrl-C does: the gateway that was started must not stay behind."""
    task = asyncio.current_task()
    if task is not None:
        with contextlib.suppress(NotImplementedError):  # on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await prove(plan, progress)
