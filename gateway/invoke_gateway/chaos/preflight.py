"""Whether a gateway that the user points at forwards to our backend."""

from __future__ import annotations

import asyncio
from random import Random

from .backend import Backend
from .calls import Call, Ending
from .clients import Manner, Target, invoke
from .history import Ledger
from .quotas import Account, Unusable
from .target import Subject

PATIENCE = 10.0  # seconds for a call to come through


async def check_the_way(subject: Subject, accounts: list[Account], backend: Backend, url: str) -> None:
    """A call of each account must come to our backend, and count in that account. Raises `Unusable`."""
    for account in accounts:
        lane = next((lane for lane in account.lanes if lane.ceiling), None)
        if lane is None:
            continue
        backend.ledger = ledger = Ledger(accounts, PATIENCE, PATIENCE)
        backend.gate = asyncio.Event()
        call = Call(f"probe.{account.account}", lane, lane.functions[0], ending=Ending.WAITS)
        task = asyncio.create_task(invoke(Target(subject.invoke, ledger), call, Manner.STAYS, Random(0)))
        arrival = asyncio.ensure_future(call.arrived.wait())
        await asyncio.wait([task, arrival], timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
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
                f"{subject.admin}/limits: give --gateway and --admin of one gateway, which nobody else uses"
            )
