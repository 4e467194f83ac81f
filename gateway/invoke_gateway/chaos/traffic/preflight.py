"""Checks that a gateway of the user's forwards to our backend."""

from __future__ import annotations

import asyncio
from random import Random

from ..backend import RecordingBackend
from ..calls import CallEnding, PlannedCall
from ..judging.history import CallHistory
from ..quotas import AccountQuota, Unusable
from ..target import GatewayTarget
from .clients import CallRoute, ClientBehaviour, invoke

PATIENCE = 10.0  # seconds for a call to come through


async def run_preflight(
    target: GatewayTarget, accounts: list[AccountQuota], backend: RecordingBackend, url: str
) -> None:
    """Makes a call of each account, which must arrive at our backend and count in that account. Raises `Unusable`."""
    for account in accounts:
        lane = next((lane for lane in account.lanes if lane.ceiling), None)
        if lane is None:
            continue
        backend.history = history = CallHistory(accounts, PATIENCE, PATIENCE)
        backend.gate = asyncio.Event()
        call = PlannedCall(f"probe.{account.account}", lane, lane.functions[0], ending=CallEnding.WAITS)
        task = asyncio.create_task(invoke(CallRoute(target.invoke, history), call, ClientBehaviour.STAYS, Random(0)))
        arrival = asyncio.ensure_future(call.arrived.wait())
        await asyncio.wait([task, arrival], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        arrival.cancel()
        limits = await target.fetch_limits() if call.arrivals else {"accounts": []}
        backend.gate.set()
        if not call.arrivals:
            task.cancel()
            seen = next(
                (example for examples in history.violations.examples.values() for example in examples), "no answer"
            )
            raise Unusable(
                f"a call to {target.invoke} did not come to prove's backend ({seen}): start that gateway with "
                f"--backend {url}, and give its Invoke API as --gateway"
            )
        await task
        counted = [row["account"] for row in limits["accounts"] if row["in_flight"] == 1]
        if counted != [account.account]:
            raise Unusable(
                f"a call of account {account.account} counts in {', '.join(counted) or 'none'} at http://"
                f"{target.admin}/limits: give --gateway and --admin of one gateway that serves no other calls"
            )
