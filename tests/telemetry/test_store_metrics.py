"""What the metrics say of the counters: in memory, and shared by gateways on a real store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from invoke_gateway.store.store_name import name_store
from tests.support.sockets import Gateway, gateway, invoke
from tests.support.stores import running_store

INFO = re.compile(r'counters_info\{gateway="(g-[0-9a-f]{8})",store="([^"]+)"\}')


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_store("valkey") as store:
        store.clear("000000000000")
        yield store.url


@contextmanager
def sharing(url: str, *limits: int) -> Iterator[list[Gateway]]:
    """A gateway for each of these limits of the default account, on one store. A lease is a second."""
    shared: dict[str, Any] = {"counters": url, "shared": {"lease_seconds": 1, "store_timeout_seconds": 0.25}}
    with ExitStack() as stack:
        yield [
            stack.enter_context(gateway(accounts={"default": {"concurrent_executions": limit}}, **shared))
            for limit in limits
        ]


def until_they_differ(served: Gateway, differ: bool) -> None:
    degraded = served.server.gateway.degraded
    served.until(lambda: degraded["limits_mismatch"] == differ, f"the limits differ: {differ}")


def read_info(served: Gateway) -> tuple[str, str]:
    """The gateway's id and the name of its store."""
    (found,) = filter(None, map(INFO.fullmatch, served.metrics()))
    return found[1], found[2]


def test_with_counters_in_memory_a_gateway_is_its_own_store_and_alone() -> None:
    with gateway() as one, gateway() as other:
        infos = [read_info(one), read_info(other)]
        samples = one.metrics()
    assert all(id == store for id, store in infos)
    assert infos[0] != infos[1]
    assert samples["gateways"] == 1
    assert not [name for name in samples if name.startswith(("store_", "lease_seconds", "store_fallback"))]


def test_gateways_that_share_their_counters_have_ids_of_their_own_and_one_store(url: str) -> None:
    with sharing(url, 10, 10) as (one, other):
        assert one.send(invoke()).status == 200
        one.until(lambda: one.server.gateway.shared.gateways == 2, "it knows of the other")
        samples = one.metrics()
        infos = [read_info(one), read_info(other)]
    assert infos[0][0] != infos[1][0]
    assert infos[0][1] == infos[1][1] == name_store(url)
    assert samples["gateways"] == 2
    assert samples["lease_seconds"] == 1
    assert samples["store_acquires_total"] == 1
    assert 0 < samples["store_seconds_total"] < samples["store_batches_total"]
    assert samples["store_failures_total"] == 0


def test_gateways_with_different_limits_are_degraded_until_these_are_the_same(url: str) -> None:
    differ = 'degraded{cause="limits_mismatch"}'
    with sharing(url, 10, 10) as (one, other):
        assert one.metrics()[differ] == other.metrics()[differ] == 0
        other.reload(accounts={"default": {"concurrent_executions": 20}})
        for served in (one, other):
            until_they_differ(served, True)
            assert served.metrics()[differ] == 1
        one.reload(accounts={"default": {"concurrent_executions": 20}})
        for served in (one, other):
            until_they_differ(served, False)
            assert served.metrics()[differ] == 0


def test_a_gateway_is_not_degraded_by_limits_of_another_that_has_gone(url: str) -> None:
    with sharing(url, 10) as (one,):
        with sharing(url, 20):
            until_they_differ(one, True)
        until_they_differ(one, False)
