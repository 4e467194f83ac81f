"""Whatever a network and a store do to several gateways: the store covers what they hold, none of them is admitted
above a ceiling, and in the end every number is right. First any order of events, then the single stories that matter
most."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from invoke_gateway.counters.shared.messages import Take
from invoke_gateway.policy.control.state import ControlDocument
from invoke_gateway.policy.limits import Limits

from ...support.stores import KINDS, Store, running_store
from .world import BASE, PLANS, Gateway, World, make_table


@pytest.fixture(scope="module", params=KINDS)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with running_store(request.param) as running:
        yield running


class Network(World, RuleBasedStateMachine):
    shared_store: Store

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        World.__init__(self, self.shared_store)

    def teardown(self) -> None:
        try:
            self.everything_comes_right_in_the_end()
        finally:
            self.close()

    @precondition(lambda self: self.awake)
    @rule(
        data=st.data(),
        functions=st.lists(st.sampled_from(sorted(PLANS)), min_size=1, max_size=5),
        then=st.sampled_from(["talk", "talk", "send", "nothing"]),
    )
    def calls_come(self, data: st.DataObject, functions: list[str], then: str) -> None:
        gateway = data.draw(st.sampled_from(self.awake))
        self.ask(gateway, *functions)
        if then != "nothing":
            getattr(self, then)(gateway)

    @precondition(lambda self: self.awake)
    @rule(data=st.data(), how=st.sampled_from(["send", "apply", "deliver", "talk", "talk", "beat"]))
    def get_on(self, data: st.DataObject, how: str) -> None:
        getattr(self, how)(data.draw(st.sampled_from(self.awake)))

    @precondition(lambda self: any(gateway.running for gateway in self.awake))
    @rule(data=st.data())
    def end_a_call(self, data: st.DataObject) -> None:
        gateway = data.draw(st.sampled_from([gateway for gateway in self.awake if gateway.running]))
        self.end_call(gateway, data.draw(st.integers(0, len(gateway.running) - 1)))

    @precondition(lambda self: any(gateway.waiting for gateway in self.awake))
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        gateway = data.draw(st.sampled_from([gateway for gateway in self.awake if gateway.waiting]))
        gateway.waiting.pop(0).abandon()

    @precondition(lambda self: any(gateway.request or gateway.reply for gateway in self.awake))
    @rule(data=st.data(), is_late=st.booleans())
    def lose_the_connection(self, data: st.DataObject, is_late: bool) -> None:
        self.lose(data.draw(st.sampled_from([one for one in self.awake if one.request or one.reply])), is_late=is_late)

    @precondition(lambda self: any(gateway.request for gateway in self.awake))
    @rule(data=st.data())
    def apply_twice(self, data: st.DataObject) -> None:
        gateway = data.draw(st.sampled_from([gateway for gateway in self.awake if gateway.request]))
        request = gateway.request
        assert request is not None
        self.apply(gateway)
        self.execute(*request)

    @precondition(lambda self: self.ghosts)
    @rule(data=st.data())
    def a_late_request_arrives(self, data: st.DataObject) -> None:
        self.execute(*self.ghosts.pop(data.draw(st.integers(0, len(self.ghosts) - 1))))

    @precondition(lambda self: self.awake)
    @rule(data=st.data(), reserved=st.integers(0, 4), then=st.sampled_from(["follow", "follow", "nothing"]))
    def a_limit_changes(self, data: st.DataObject, reserved: int, then: str) -> None:
        gateway = data.draw(st.sampled_from(self.awake))
        self.change_limit(gateway, reserved)
        if then == "follow":
            self.follow_limits(data.draw(st.sampled_from(self.awake)))

    @precondition(lambda self: self.awake)
    @rule(data=st.data())
    def a_gateway_reads_the_limits(self, data: st.DataObject) -> None:
        self.follow_limits(data.draw(st.sampled_from(self.awake)))

    @rule(quarters=st.integers(1, 9))
    def time_passes(self, quarters: int) -> None:
        self.live(quarters)

    @rule(seconds=st.sampled_from([0.5, 2, 30, 60, 99, 110, 300]))
    def the_store_is_away(self, seconds: float) -> None:
        """Nobody reaches it, and its clock goes on."""
        self.pass_time(seconds * 1000)

    def pause_or_wake(self, index: int) -> None:
        gateway = self.gateways[index]
        gateway.is_paused = not gateway.is_paused

    @rule(
        data=st.data(),
        what=st.sampled_from(
            ["kill", "give_back_by_force", "restart_the_store_empty", "copy_to_a_replica", "fail_over", "pause_or_wake"]
        ),
    )
    def something_breaks(self, data: st.DataObject, what: str) -> None:
        getattr(self, what)(data.draw(st.integers(0, 2)))

    @invariant()
    def the_sums_are_what_the_gateways_hold_in_the_store(self) -> None:
        for slots in self.store.sums("a").values():
            assert slots > 0

    @invariant()
    def what_runs_is_what_the_tally_holds(self) -> None:
        for gateway in self.gateways:
            assert gateway.tally.held == gateway.held()


def test_whatever_happens_nobody_is_admitted_above_a_ceiling_and_no_slot_is_lost(store: Store) -> None:
    class Machine(Network):
        shared_store = store

    run_state_machine_as_test(Machine, settings=settings(max_examples=25, stateful_step_count=50))


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    made = World(store)
    yield made
    made.everything_comes_right_in_the_end()
    made.close()


def test_a_batch_whose_reply_was_lost_goes_again_and_takes_effect_once(world: World) -> None:
    one = world.gateways[0]
    world.ask(one, "plain")
    world.send(one)
    world.apply(one)
    world.lose(one)
    assert world.store.sums("a")["a/account"] == 1
    world.talk(one)
    assert one.running == ["plain"]
    assert world.store.sums("a")["a/account"] == 1


def test_a_batch_that_arrives_twice_takes_effect_once(world: World) -> None:
    one = world.gateways[0]
    world.ask(one, "plain")
    world.send(one)
    assert one.request is not None
    first = world.execute(*one.request)
    assert world.execute(*one.request) == first
    world.apply(one)
    world.deliver(one)
    assert world.store.sums("a")["a/account"] == 1


def test_a_batch_that_comes_after_later_ones_does_nothing(world: World) -> None:
    one = world.gateways[0]
    world.ask(one, "plain", "plain")
    world.talk(one)
    world.end_call(one)
    world.send(one)  # the release
    world.lose(one, is_late=True)
    world.talk(one)
    world.ask(one, "plain")
    world.talk(one)
    world.execute(*world.ghosts.pop())
    assert one.running == ["plain", "plain"]
    assert world.store.sums("a")["a/unreserved"] == 2


def test_a_batch_of_an_earlier_epoch_does_nothing(world: World) -> None:
    one = world.gateways[0]
    world.give_back_by_force(0)  # so that the next epoch begins
    world.ask(one, "reserved", "reserved", "plain")
    world.talk(one)
    assert len(one.running) == 3
    world.give_back_by_force(0)
    world.talk(one)
    world.beat(one)
    world.talk(one)
    assert one.tally.acknowledged is not None
    assert one.tally.acknowledged[1] == 0  # so the number of the next batch is 1, as it will be after the next register
    world.end_call(one)
    world.send(one)  # the release
    world.lose(one, is_late=True)
    one.tally.fence(one.tally.epoch)
    world.talk(one)  # the register, which knows of the release
    world.execute(*world.ghosts.pop())
    assert world.store.sums("a") == one.held()


def test_a_register_that_comes_late_does_not_bring_old_counts_back(world: World) -> None:
    one = world.gateways[0]
    world.ask(one, "plain")
    world.talk(one)
    one.tally.fence(one.tally.epoch)
    world.send(one)
    world.lose(one, is_late=True)
    world.talk(one)
    world.ask(one, "plain")
    world.talk(one)
    world.execute(*world.ghosts.pop())
    assert world.store.sums("a")["a/unreserved"] == 2 == len(one.running)


def test_a_gateway_that_is_not_heard_for_a_lease_gives_its_slots_back_and_is_fenced(world: World) -> None:
    one, two, _ = world.gateways
    world.ask(one, "plain", "plain")
    world.talk(one)
    one.is_paused = True
    world.live(3)
    world.ask(two, "plain")
    world.talk(two)
    assert two.running == []
    world.live(2)
    world.ask(two, "plain")
    world.talk(two)
    assert two.running == ["plain"]
    one.is_paused = False
    world.ask(one, "plain")
    for _ in range(3):  # fenced, registered, and only then asked
        world.send(one)
        world.apply(one)
        world.deliver(one)
    assert one.running == ["plain", "plain"]
    assert not one.waiting
    assert world.store.sums("a")["a/unreserved"] == 3  # those calls run, and nobody is admitted beside them


def test_a_reply_that_lay_there_while_the_process_was_stopped_admits_nobody(world: World) -> None:
    one, two, _ = world.gateways
    world.ask(one, "plain", "plain")
    world.send(one)
    world.apply(one)
    one.is_paused = True
    world.live(6)  # its slots are given back
    world.ask(two, "plain", "plain")
    world.talk(two)
    assert len(two.running) == 2
    one.is_paused = False
    world.deliver(one)
    assert one.running == []


def test_where_nobody_was_heard_it_was_the_store_that_was_away_and_no_slot_is_given_back(world: World) -> None:
    one, two, _ = world.gateways
    world.ask(one, "plain", "plain")
    world.talk(one)
    world.pass_time(3 * 100_000)
    world.ask(two, "plain")
    world.talk(two)
    assert two.running == []
    assert world.store.sums("a")["a/unreserved"] == 2


@pytest.mark.parametrize("who", [0, 1])
def test_a_store_that_came_back_empty_admits_nobody_for_a_lease(world: World, who: int) -> None:
    one = world.gateways[0]
    world.ask(one, "plain", "plain")
    world.talk(one)
    world.restart_the_store_empty(0)
    asking = world.gateways[who]
    world.ask(asking, "plain")
    world.talk(asking)
    assert len(asking.running) == (2 if asking is one else 0)
    world.live(5)
    two = world.gateways[1]
    world.ask(two, "plain")
    world.talk(two)
    assert two.running == []
    world.end_call(one)
    world.talk(one)
    world.ask(two, "plain")
    world.talk(two)
    assert two.running == ["plain"]


def test_a_replica_that_takes_over_admits_nobody_until_it_knows_what_it_lacks(world: World) -> None:
    one, two, _ = world.gateways
    world.copy_to_a_replica(0)
    world.ask(one, "plain", "plain")
    world.talk(one)
    world.fail_over(0)
    world.ask(two, "plain")
    world.talk(two)
    assert two.running == []
    world.beat(one)  # an idle gateway finds out by its heartbeat
    assert one.tally.acknowledged is None
    world.live(5)
    assert world.store.sums("a")["a/unreserved"] == 2
    world.ask(two, "plain")
    world.talk(two)
    assert two.running == []


@pytest.mark.parametrize("is_refilled", [False, True], ids=["at once", "after the refill"])
def test_a_replica_that_takes_over_does_not_repeat_the_grants_of_the_server_before_it(
    world: World, is_refilled: bool
) -> None:
    """They were given to another gateway since, and this the replica does not know."""
    one, two, _ = world.gateways
    world.ask(one, "plain", "plain")
    world.send(one)
    world.apply(one)
    world.copy_to_a_replica(0)
    world.lose(one)
    one.is_paused = True
    world.live(6)  # its slots are given back
    world.ask(two, "plain", "plain")
    world.talk(two)
    assert len(two.running) == 2
    world.fail_over(0)
    if is_refilled:
        world.beat(two)
        world.live(3)
    one.is_paused = False
    world.talk(one)
    assert one.running == []
    world.live(5)
    assert len(one.running) + len(two.running) == 2


def test_a_renewal_is_fenced_where_a_store_lost_batches_and_its_server_has_the_same_name(world: World) -> None:
    """As behind a proxy that hides which server answers."""
    one = world.gateways[0]
    world.copy_to_a_replica(0)
    world.ask(one, "plain", "plain")
    world.talk(one)
    run = world.run
    world.fail_over(0)
    world.run = run
    world.beat(one)
    assert one.tally.acknowledged is None
    world.talk(one)
    assert world.store.sums("a")["a/unreserved"] == 2


def test_a_grant_that_nobody_waits_for_is_given_back(world: World) -> None:
    one = world.gateways[0]
    world.ask(one, "plain", "reserved")
    world.send(one)
    one.waiting.pop(0).abandon()
    world.apply(one)
    world.talk(one)
    world.talk(one)
    assert one.running == ["reserved"]
    assert world.store.sums("a") == one.held()


def test_shares_of_a_ceiling_add_up_to_it(world: World) -> None:
    for gateway in world.gateways:
        world.beat(gateway)
    for ceiling in range(8):
        shares = [gateway.tally.share_of(ceiling) for gateway in world.gateways]
        assert sum(shares) == ceiling
        assert max(shares) - min(shares) <= 1


# Limits that control operations change.


def change_limit(world: World, revision: str, reserved: int) -> Limits:
    """Another gateway has changed the reservation. Returns the table that follows."""
    world.client.hset(f"{BASE}:control", mapping={"revision": revision, "document": str(reserved)})
    return make_table(reserved, revision)


def adopt(gateway: Gateway, table: Limits, before: Limits) -> None:
    table.supersede(before)
    gateway.tally.set_revision(table.default.control_revision)


def ask_by(gateway: Gateway, table: Limits, *functions: str) -> None:
    for function in functions:
        take = Take(table.default.plan(function))
        gateway.waiting.append(take)
        gateway.tally.enqueue(take)


@pytest.fixture
def first() -> Limits:
    return make_table()


def test_takes_by_limits_that_were_replaced_wait_for_the_newer_ones(world: World, first: Limits) -> None:
    one = world.gateways[0]
    ask_by(one, first, "reserved")
    world.talk(one)
    lower = change_limit(world, "1:w", 1)
    ask_by(one, first, "reserved", "plain")
    world.talk(one)
    assert (one.running, len(one.waiting)) == (["reserved"], 2)
    assert one.tally.is_stale
    assert one.tally.is_idle, "or the shard would send without end"
    adopt(one, lower, first)
    world.talk(one)
    assert (one.running, one.waiting) == (["reserved", "plain"], [])


def test_releases_are_applied_while_takes_wait_for_newer_limits(world: World, first: Limits) -> None:
    one = world.gateways[0]
    ask_by(one, first, "reserved", "plain")
    world.talk(one)
    change_limit(world, "1:w", 1)
    ask_by(one, first, "plain")
    world.end_call(one)
    world.talk(one)
    assert world.store.sums("a")["a/account"] == 1
    assert one.tally.is_stale
    world.end_call(one)
    world.talk(one)
    assert world.store.sums("a") == {}
    world.client.hdel(f"{BASE}:control", "revision")  # the store lost it
    one.tally.confirm("")
    world.talk(one)
    assert one.running == ["plain"]


def test_a_stale_reply_that_comes_after_the_newer_limits_stops_nothing(world: World, first: Limits) -> None:
    one = world.gateways[0]
    lower = change_limit(world, "1:w", 1)
    ask_by(one, first, "reserved")
    world.send(one)
    world.apply(one)
    adopt(one, lower, first)
    world.deliver(one)
    assert not one.tally.is_stale
    world.talk(one)
    assert one.running == ["reserved"]


def test_a_registration_brings_the_control_state_to_a_store_that_lost_it(world: World, first: Limits) -> None:
    one, two, _ = world.gateways
    lower = change_limit(world, "3:w", 1)
    adopt(one, lower, first)
    one.tally.kept = ControlDocument("3:w", "1")
    world.restart_the_store_empty(0)
    world.beat(one)  # by which it finds out
    world.talk(one)
    assert world.client.hgetall(f"{BASE}:control") == {"revision": "3:w", "document": "1"}
    world.live(5)
    ask_by(two, first, "reserved")
    world.talk(two)
    assert two.tally.is_stale
    older = ControlDocument("2:w", "9")
    two.tally.kept = older
    world.give_back_by_force(1)
    world.beat(two)
    world.talk(two)  # it registers
    assert world.client.hget(f"{BASE}:control", "revision") == "3:w"
    adopt(two, make_table(1, "3:w"), first)
    world.talk(two)
    assert two.running == ["reserved"]
