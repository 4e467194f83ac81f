"""The limits that a supervisor shows: those of its workers, also while provisioned concurrency is being allocated."""

from __future__ import annotations

from typing import Any

import msgspec

from invoke_gateway.policy.control.state import NOTHING, ControlState, ProvisionedConfig, with_provisioned
from invoke_gateway.settings import Settings
from invoke_gateway.workers.channel import WorkerGone
from invoke_gateway.workers.limits_in_force import LimitsInForce

NOW = 1_000_000.0


class FakeWorker:
    """Answers `control` as a worker does. `calls` counts its answers."""

    def __init__(self, state: ControlState) -> None:
        self.state = state
        self.snapshot: dict[str, Any] = {"control_version": state.version}
        self.calls = 0
        self.is_gone = False

    async def call(self, name: str, *, seconds: float) -> bytes:
        assert name == "control"
        self.calls += 1
        if self.is_gone:
            raise WorkerGone("it has ended")
        return msgspec.msgpack.encode((self.state, ControlState()))


def provision(slots: int, modified_at: float) -> ControlState:
    config = ProvisionedConfig(slots, modified_at, "7")
    return ControlState().with_function("000000000000", "f", with_provisioned(NOTHING, "live", config))


class Table:
    """Holds a table, whose clock is ours."""

    def __init__(self, allocation_seconds: float, **account: Any) -> None:
        self.now = NOW
        values = {"provisioned": {"allocation_seconds": allocation_seconds}, "accounts": {"default": account}}
        settings = Settings.model_validate(values)
        self.limits = LimitsInForce(settings, clock=lambda: self.now)

    async def refresh(self, *workers: Any) -> tuple[int, int]:
        await self.limits.refresh(workers, 1.0)
        account = self.limits.table.default
        return account.provisioned_slots("f"), account.allocated_slots("f")


async def test_slots_are_allocated_as_late_as_in_the_workers() -> None:
    table, worker = Table(5), FakeWorker(provision(3, NOW - 2))
    assert await table.refresh(worker) == (3, 0)
    table.now = NOW + 2.9
    assert await table.refresh(worker) == (3, 0)
    table.now = NOW + 3
    assert await table.refresh(worker) == (3, 3)
    assert worker.calls == 1


async def test_slots_are_allocated_also_when_no_worker_replies() -> None:
    table, worker = Table(5), FakeWorker(provision(3, NOW))
    assert await table.refresh(worker) == (3, 0)
    table.now = NOW + 5
    assert await table.refresh() == (3, 3)


async def test_without_a_wait_they_are_allocated_at_once() -> None:
    assert await Table(0).refresh(FakeWorker(provision(3, NOW))) == (3, 3)


async def test_a_worker_that_ends_meanwhile_changes_nothing_and_the_next_one_is_read() -> None:
    table, gone, other = Table(0), FakeWorker(provision(3, NOW)), FakeWorker(provision(3, NOW))
    gone.is_gone = True
    assert await table.refresh(gone) == (0, 0)
    assert await table.refresh(other) == (3, 3)


async def test_slots_of_callers_beside_the_gateway_are_those_that_a_worker_has_read() -> None:
    table, worker = Table(5, outside_concurrency="cloudwatch"), FakeWorker(ControlState())
    worker.snapshot["outside"] = {"000000000000": 40}
    await table.refresh(worker)
    assert table.limits.table.default.outside_concurrency == 40
    await table.refresh()
    assert table.limits.table.default.outside_concurrency == 40, "while no worker replies"
    worker.snapshot["outside"] = {}
    await table.refresh(worker)
    assert table.limits.table.default.outside_concurrency == 0
    assert worker.calls == 0
