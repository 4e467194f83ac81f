"""Outside concurrency while a gateway runs: read, put in force, kept when it cannot be read."""

from __future__ import annotations

import pytest

from invoke_gateway.outside.base import CannotRead, OutsideReading
from invoke_gateway.outside.watch import OUTSIDE_CAUSE, OutsideWatch


class Source:
    """Provides what the test puts here."""

    needs_samples = True

    def __init__(self) -> None:
        self.found: OutsideReading | str | None = None
        self.samples: list[int] = []
        self.reads = 0

    def sample(self, own: int) -> None:
        self.samples.append(own)

    async def read(self) -> OutsideReading | None:
        self.reads += 1
        if isinstance(self.found, str):
            raise CannotRead(self.found)
        return self.found


class World:
    """Holds a watch with one source for each name."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sources: dict[str, Source] = {}
        self.in_force: list[dict[str, int]] = []
        self.degraded: dict[str, bool] = {}
        self.watch = OutsideWatch(
            make_source=self.make_source,
            count_own=len,
            put_in_force=self.put_in_force,
            degraded=self.degraded,
            now=lambda: self.now,
        )

    def make_source(self, account: str, name: str) -> Source:
        return self.sources.setdefault(name, Source())

    async def put_in_force(self) -> None:
        self.in_force.append(self.watch.slots)


@pytest.fixture
def world() -> World:
    world = World()
    world.watch.follow({"a": ("one", 60.0)})
    return world


async def test_a_number_is_in_force_once(world: World) -> None:
    source = world.sources["one"]
    source.found = OutsideReading(40, 990.0)
    await world.watch.tick()
    await world.watch.tick()
    assert (world.in_force, source.reads, source.samples) == ([{"a": 40}], 1, [1, 1])
    world.now += 60
    await world.watch.tick()
    assert (world.in_force, source.reads) == ([{"a": 40}], 2), "the same number changes nothing"
    assert world.watch.ages() == {"a": 70.0}


async def test_the_last_number_stays_and_the_gateway_is_degraded(world: World) -> None:
    source = world.sources["one"]
    source.found = OutsideReading(40, 1000.0)
    await world.watch.tick()
    assert world.degraded == {OUTSIDE_CAUSE: False}
    source.found = "the service is down"
    world.now += 60
    await world.watch.tick()
    assert world.watch.slots == {"a": 40}
    assert world.degraded == {OUTSIDE_CAUSE: True}
    assert world.watch.describe() == "account a: the service is down; 40 stays in force, for 60 s"
    source.found = OutsideReading(7, 1120.0)
    world.now += 60
    await world.watch.tick()
    assert (world.in_force, world.degraded) == ([{"a": 40}, {"a": 7}], {OUTSIDE_CAUSE: False})


async def test_a_number_that_does_not_change_its_time_grows_old(world: World) -> None:
    world.sources["one"].found = OutsideReading(40, 1000.0)
    await world.watch.tick()
    world.now += 300
    await world.watch.tick()
    assert not world.degraded[OUTSIDE_CAUSE]
    world.now += 1
    await world.watch.tick()
    assert world.degraded[OUTSIDE_CAUSE]
    assert world.watch.describe() == "account a: no newer number; 40 stays in force, for 301 s"


async def test_a_source_that_never_has_a_number_is_a_degradation_in_the_end(world: World) -> None:
    await world.watch.tick()
    assert (world.watch.slots, world.degraded) == ({}, {OUTSIDE_CAUSE: False})
    world.now += 301
    await world.watch.tick()
    assert world.watch.describe() == "account a: no newer number; none was read, for 301 s"


async def test_a_reload_changes_the_sources(world: World) -> None:
    world.sources["one"].found = OutsideReading(40, 1000.0)
    await world.watch.tick()
    world.watch.follow({"a": ("two", 60.0), "b": ("one", 60.0)})
    assert world.watch.slots == {"a": 40}, "until the new source has a number"
    world.watch.follow({"b": ("one", 60.0)})
    assert world.watch.slots == {}
    await world.watch.tick()
    assert world.watch.slots == {"b": 40}
