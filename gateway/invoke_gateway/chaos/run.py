"""Runs a proof: seed after seed, round after round, each with a final check, to the verdict."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from random import Random
from time import monotonic

from .backend import RecordingBackend
from .cluster import GatewayCluster, started_cluster
from .faults.fault_log import FaultLog
from .judging.history import CallHistory
from .judging.violations import Violation
from .loop import allow_many_sockets, run_on_loop
from .plan import LONGEST_TIMEOUT_SECONDS, ProvePlan
from .quotas import AccountQuota, Unusable, read_accounts
from .report.progress import Progress
from .report.verdict import CallsResult, CallsVerdict, sum_up
from .scheduler_lag import SchedulerLag
from .target import OWN_TIMEOUT_SECONDS, Died, GatewayTarget, Silent, find_reason_to_wait, started
from .traffic.final_check import FinalCheck
from .traffic.limit_changes import LimitChanges
from .traffic.phases import Phases
from .traffic.preflight import run_preflight
from .traffic.workload import Workload

# Where the gateway's time-out is not given it may be AWS's 900 s: then no backend hangs, and half of this is only
# the time after which our functions count as ended. The gateway's must be at or above it.
UNKNOWN_TIMEOUT_SECONDS = 10.0


async def prove(plan: ProvePlan, progress: Progress) -> CallsVerdict:
    """Runs the plan. Raises `Unusable` where the gateway cannot be judged. The death of a gateway that was started is a
    violation."""
    allow_many_sockets()
    backend = RecordingBackend(CallHistory([], 1, 1))
    try:
        url = f"http://{await backend.listen(*plan.backend_listen)}"
    except OSError as error:
        raise Unusable(f"cannot listen on {plan.backend_listen} ({error.strerror}): choose another address") from None
    try:
        async with _target(plan, backend, url) as (target, accounts), SchedulerLag(_longest_lag(plan)) as lag:
            return await Proof(plan, progress, backend, target, accounts, lag).run()
    finally:
        await backend.stop()


@contextlib.asynccontextmanager
async def _target(
    plan: ProvePlan, backend: RecordingBackend, url: str
) -> AsyncIterator[tuple[GatewayTarget | GatewayCluster, list[AccountQuota]]]:
    if plan.sharing is not None:
        rng = Random(f"{plan.seeds[0]}/relays")
        async with started_cluster(plan.sharing, url, list(plan.accounts), rng, plan.serve) as cluster:
            yield cluster, await cluster.read_accounts()
        return
    if plan.gateway is None or plan.admin is None:
        seconds = plan.timeout_seconds or OWN_TIMEOUT_SECONDS
        async with started(url, list(plan.accounts), seconds) as target:
            yield target, read_accounts(await target.fetch_limits())
        return
    target = GatewayTarget(plan.gateway, plan.admin, plan.timeout_seconds, lambda: None, plan.token)
    limits = await target.fetch_limits()
    reason = find_reason_to_wait(limits)
    if reason is not None:
        raise Unusable(reason)
    accounts = read_accounts(limits)
    await run_preflight(target, accounts, backend, url)
    yield target, accounts


def _longest_lag(plan: ProvePlan) -> float:
    """Returns the longest lag that is no excuse: a quarter of the time in which the store must answer (seconds)."""
    return plan.sharing.store_timeout_seconds / 4 if plan.sharing is not None else math.inf


class Proof:
    def __init__(
        self,
        plan: ProvePlan,
        progress: Progress,
        backend: RecordingBackend,
        target: GatewayTarget | GatewayCluster,
        accounts: list[AccountQuota],
        lag: SchedulerLag,
    ) -> None:
        self.plan = plan
        self.progress = progress
        self.backend = backend
        self.target = target
        self.accounts = accounts
        self.lag = lag
        self.changes: list[LimitChanges] = []
        self.cluster = target if isinstance(target, GatewayCluster) else None
        known = target.timeout_seconds
        self.hangs = self.cluster is None and known is not None and known <= LONGEST_TIMEOUT_SECONDS
        # Without hangs one gateway's time-out plays no part, as long as it is longer than this.
        self.timeout_seconds = known if known and (self.hangs or self.cluster) else UNKNOWN_TIMEOUT_SECONDS

    async def run(self) -> CallsVerdict:
        results: list[CallsResult] = []
        share = self.plan.seconds / len(self.plan.seeds)
        with self.progress:
            for seed in self.plan.seeds:
                result, is_over = await self._run_seed(seed, share)
                results.append(result)
                self.progress.end_seed(result)
                if is_over:
                    break
        options = self.cluster.sharing.options if self.cluster is not None else ""
        return CallsVerdict(self._describe(), results, self._notes(results), options, self.lag.longest)

    async def _run_seed(self, seed: int, share: float) -> tuple[CallsResult, bool]:
        """Returns the seed's result, and True where the gateway is dead."""
        began = monotonic()
        history = self._open_history(began)
        self.backend.history = history
        phases: list[tuple[str, float]] = []
        try:
            round = 0
            # Another round when it would bring the end nearer to the share than it is now.
            while round == 0 or (monotonic() - began) * (1 + 0.5 / round) < share:
                round += 1
                await self._run_round(seed, round, history, began, phases)
        except (Died, Silent) as error:
            history.violations.add(Violation.DIED, str(error))
            return sum_up(seed, history, began, phases), True
        return sum_up(seed, history, began, phases), False

    def _open_history(self, began: float) -> CallHistory:
        seconds = self.timeout_seconds
        if self.cluster is None:
            # Half of the gateway's time-out: what a slow event loop takes off the gateway's own is far less.
            return CallHistory(self.accounts, seconds / 2, seconds)
        sharing = self.cluster.sharing
        fault_log = FaultLog(self.accounts, sharing.lease_seconds, seconds, sharing.reclaim_after)
        fault_log.started = began
        history = CallHistory(self.accounts, sharing.function_seconds, seconds, fault_log=fault_log)
        history.lag = self.lag
        return history

    async def _run_round(
        self, seed: int, round: int, history: CallHistory, began: float, phases: list[tuple[str, float]]
    ) -> None:
        route = self.target.route(history)
        script = Phases(
            route,
            self.accounts,
            seed,
            round,
            clients=self.plan.clients,
            hangs=self.hangs,
            pause=1.5 * history.release_seconds,
        )
        final_check = FinalCheck(route, self.backend, self.accounts, f"{seed}.{round}", self.target.fetch_limits)
        steps = {
            "at the limit": script.at_the_limit,
            "burst": script.burst,
            "hostile": script.hostile,
        }
        if self.plan.gateway is None:  # a running gateway keeps its limits
            changes = LimitChanges(self.target, self.backend, self.accounts, f"{seed}.{round}")
            self.changes.append(changes)
            steps["limit changes"] = lambda: self._change_limits(changes, history, final_check)
        if self.cluster is not None and history.fault_log is not None:
            workload = Workload(
                route,
                self.cluster,
                self.accounts,
                history.fault_log,
                f"{seed}.{round}",
                kinds=self.plan.kinds,
                partition_seconds=self.plan.partition_seconds,
                timeline=self.plan.timeline,
                begin=lambda name: phases.append((name, monotonic() - began)),
                log=self.progress.log,
            )
            steps["faults"] = workload.run
        steps["final check"] = final_check.check
        for name, step in steps.items():
            if name not in self.plan.phases:
                continue
            phases.append((name, monotonic() - began))
            self.progress.begin(seed, round, name, history)
            await step()
            self.target.check()
            self.progress.end()
            if history.rate_refusals and self.plan.gateway is not None:
                raise Unusable(
                    "the gateway refused calls by a request rate, and such a refusal shows nothing about slots: "
                    "set requests_per_second to off, of its accounts and of their functions"
                )

    async def _change_limits(self, changes: LimitChanges, history: CallHistory, final_check: FinalCheck) -> None:
        """Changes limits once nothing is in flight. A call whose client has left may hold a slot until its function
        ends, and the history of the changes does not know it. What stays in flight is left to the final check."""
        if not await final_check.settle():
            await changes.run(history)

    def _describe(self) -> str:
        if self.plan.gateway is not None:
            return f"the gateway at {self.plan.gateway}"
        if self.cluster is not None:
            sharing = self.cluster.sharing
            return (
                f"{sharing.gateways} gateways on one store, started for this; lease {sharing.lease_seconds:g} s, "
                f"reclaim_after {sharing.reclaim_after}"
            )
        return "a gateway started for this (python -m invoke_gateway serve)"

    def _notes(self, results: list[CallsResult]) -> list[str]:
        notes = [changes.describe() for changes in self.changes if changes.puts]
        if self.cluster is not None:
            notes.append("No backend hung: that is proven with one gateway (no --redis).")
            notes.append(
                "Longest lag: {:.2f} s of prove's event loop, {:.2f} s of a thread".format(*self.lag.longest)
                + f"; lateness is not judged above {self.lag.limit:.2f} s."
            )
        elif not self.hangs:
            notes.append("No backend hung: --backend-timeout was not given, or is above 30 s.")
        if len(results) < len(self.plan.seeds):
            left = len(self.plan.seeds) - len(results)
            notes.append(f"The gateway ended by itself: {left} seed{'s were' if left > 1 else ' was'} not run.")
        return notes


def run(plan: ProvePlan, progress: Progress) -> CallsVerdict:
    """Runs `prove` on an event loop of its own. Raises `asyncio.CancelledError` after SIGTERM."""
    return run_on_loop(lambda: prove(plan, progress))
