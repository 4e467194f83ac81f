"""What the recordings and the dashboards make of gateways that count together, and of those that do not: promtool
evaluates them on series that are written down here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from grafana import function, overview, sharing
from tests.support.tools import PROMTOOL

from .expressions import RULES, fill, in_monitoring
from .test_rules import check

ONE, OTHER = "redis://10.0.0.5:6379/0", "redis://10.0.0.6:6379/0"
CHOSEN = {"job": "g", "account": "x", "function": "f"}


class Told(NamedTuple):
    """One gateway, and what it tells of account x: its limit, of which a tenth is reserved for function f. Of f it runs
    two calls, of others one."""

    instance: str
    store: str
    limit: int = 100
    sharing: int = 1
    ids: tuple[str, ...] = ("g-7f3a2b1c",)


class Counted(NamedTuple):
    """What is to come out for one store."""

    gateways: int
    limit: int = 100
    sharing: int | None = None


CASES: dict[str, tuple[list[Told], dict[str, Counted]]] = {
    "one gateway, in memory": ([Told("a", "g-7f3a2b1c")], {"a": Counted(1)}),
    "one gateway, on a store": ([Told("a", ONE)], {ONE: Counted(1)}),
    "three gateways in memory": (
        [Told("a", "g-7f3a2b1c"), Told("b", "g-00000001"), Told("c", "g-ffffffff", 50)],
        {"a": Counted(1), "b": Counted(1), "c": Counted(1, 50)},
    ),
    "three gateways on one store": ([Told(name, ONE, sharing=3) for name in "abc"], {ONE: Counted(3)}),
    "two gateways on each of two stores": (
        [Told(name, ONE, sharing=2) for name in "ab"] + [Told(name, OTHER, 200, sharing=2) for name in "cd"],
        {ONE: Counted(2), OTHER: Counted(2, 200)},
    ),
    "two gateways on a store, and only one of them reloaded with other limits": (
        [Told("a", ONE, 200, sharing=2), Told("b", ONE, sharing=2)],
        {ONE: Counted(2, 200)},
    ),
    "two gateways on a store, and one that counts by itself": (
        [Told("a", ONE, sharing=2), Told("b", ONE, sharing=2), Told("c", "g-7f3a2b1c", 50)],
        {ONE: Counted(2), "c": Counted(1, 50)},
    ),
    "two gateways that say that they are on one store and do not know each other": (
        [Told("a", ONE), Told("b", ONE, sharing=2)],
        {ONE: Counted(2, sharing=1)},
    ),
}


def list_series(told: Told) -> dict[str, float]:
    who = f'job="g", instance="{told.instance}"'
    account, of_function = f'{{{who}, account="x"}}', f'{{{who}, account="x", function="f"}}'
    reserved = told.limit // 10
    infos = {f'counters_info{{{who}, gateway="{id}", store="{told.store}"}}': 1 for id in told.ids}
    return {
        **infos,
        f"gateways{{{who}}}": told.sharing,
        f"concurrent_executions_limit{account}": told.limit,
        f"unreserved_concurrent_executions_limit{account}": told.limit - reserved,
        f"unreserved_concurrent_executions{account}": 1,
        f"claimed_account_concurrency{account}": reserved + 1,
        f"reserved_concurrent_executions{of_function}": reserved,
        f"concurrent_executions{of_function}": 2,
    }


def list_recorded(stores: dict[str, Counted]) -> dict[str, dict[str, float]]:
    """Of each recording its series with their values."""
    account, of_function = {"account": "x"}, {"account": "x", "function": "f"}
    wanted: dict[str, tuple[dict[str, str], Any]] = {
        "store:invoke_gateway_gateways:count": ({}, lambda of: of.gateways),
        "store:invoke_gateway_gateways:min": ({}, lambda of: of.sharing or of.gateways),
        "store_account:invoke_gateway_concurrent_executions_limit:max": (account, lambda of: of.limit),
        "store_account:invoke_gateway_unreserved_concurrent_executions_limit:max": (
            account,
            lambda of: of.limit - of.limit // 10,
        ),
        "store_account:invoke_gateway_reserved_concurrent_executions:max": (account, lambda of: of.limit // 10),
        "store_account_function:invoke_gateway_reserved_concurrent_executions:max": (
            of_function,
            lambda of: of.limit // 10,
        ),
        "store_account:invoke_gateway_unreserved_concurrent_executions:sum": (account, lambda of: of.gateways),
        "store_account_function:invoke_gateway_concurrent_executions:sum": (of_function, lambda of: 2 * of.gateways),
        "store_account:invoke_gateway_unreserved_concurrency:ratio": (
            account,
            lambda of: of.gateways / (of.limit - of.limit // 10),
        ),
        "store_account_function:invoke_gateway_reserved_concurrency:ratio": (
            of_function,
            lambda of: 2 * of.gateways / (of.limit // 10),
        ),
    }
    recorded = {
        name: {write_labels(name, {"job": "g", "store": store, **labels}): value(of) for store, of in stores.items()}
        for name, (labels, value) in wanted.items()
    }
    for name, number in (
        ("job:invoke_gateway_gateways:count", sum(of.gateways for of in stores.values())),
        ("job:invoke_gateway_stores:count", len(stores)),
    ):
        recorded[name] = {write_labels(name, {"job": "g"}): number}
    return recorded


def list_shown(stores: dict[str, Counted], instances: str) -> dict[str, dict[str, float]]:
    """Of each panel's expression its series with their values."""
    limit = sum(of.limit for of in stores.values())
    reserved = sum(of.limit // 10 for of in stores.values())
    gateways = sum(of.gateways for of in stores.values())
    account = write_labels("", {"account": "x"})
    by_function = write_labels("", {"account": "x", "function": "f"})
    shown = {
        overview.limit("concurrent_executions_limit"): {account: limit},
        overview.CLAIMED: {account: gateways + reserved},
        overview.CLAIMED_SHARE: {account: (gateways + reserved) / limit},
        overview.POOL: {account: gateways / (limit - reserved)},
        overview.RESERVED: {by_function: 2 * gateways / reserved},
        function.CEILING: {"{}": reserved},
        f"count(count by (store) ({sharing.STORES}{sharing.OURS}))": {"{}": len(stores)},
    }
    return {fill(text, {**CHOSEN, "instance": instances}): series for text, series in shown.items()}


def write_labels(name: str, labels: dict[str, str]) -> str:
    written = ", ".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{written}}}"


def evaluate(folder: Path, gateways: list[Told], wanted: dict[str, dict[str, float]]) -> None:
    series = {f"invoke_gateway_{name}": f"{value}x8" for told in gateways for name, value in list_series(told).items()}
    run_promtool(folder, series, [(text, "2m", samples) for text, samples in wanted.items()])


def run_promtool(folder: Path, series: dict[str, str], asked: list[tuple[str, str, dict[str, float]]]) -> None:
    """Fails with promtool's own words where an expression returns anything else than these samples at that time."""
    expected = [
        {"expr": text, "eval_time": time, "exp_samples": [{"labels": one, "value": samples[one]} for one in samples]}
        for text, time, samples in asked
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "15s", "input_series": given, "promql_expr_test": expected}
    file = folder / "sharing_test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [test]}))
    check(PROMTOOL, "test", "rules", str(file))


@pytest.mark.parametrize("case", CASES)
def test_a_limit_counts_once_for_each_store_and_what_is_in_flight_for_each_gateway(case: str, tmp_path: Path) -> None:
    gateways, stores = CASES[case]
    evaluate(tmp_path, gateways, list_recorded(stores))


@pytest.mark.parametrize("case", CASES)
def test_the_panels_add_up_the_limits_of_the_stores(case: str, tmp_path: Path) -> None:
    gateways, stores = CASES[case]
    evaluate(tmp_path, gateways, list_shown(stores, ".*"))


@pytest.mark.parametrize("case", CASES)
def test_without_the_recordings_the_query_of_the_page_on_monitoring_adds_up_the_same(case: str, tmp_path: Path) -> None:
    gateways, stores = CASES[case]
    first, *_, last = (expression.text for expression in in_monitoring())
    assert "store_account:" in first
    assert "store_account:" not in last
    limit = {write_labels("", {"account": "x"}): float(sum(of.limit for of in stores.values()))}
    evaluate(tmp_path, gateways, {first: limit, last: limit})


def test_of_chosen_gateways_the_panels_show_the_calls_against_the_whole_limit_of_their_store(tmp_path: Path) -> None:
    """And nothing of other stores."""
    gateways, _ = CASES["two gateways on each of two stores"]
    evaluate(tmp_path, gateways, list_shown({ONE: Counted(1)}, "a"))


def test_an_instance_that_tells_of_two_processes_has_its_limits_once(tmp_path: Path) -> None:
    name = "store_account:invoke_gateway_concurrent_executions_limit:max"
    count = "store:invoke_gateway_gateways:count"
    told = Told("a", ONE, sharing=2, ids=("g-7f3a2b1c.1", "g-7f3a2b1c.2r1"))
    wanted = {
        name: {write_labels(name, {"job": "g", "store": ONE, "account": "x"}): 100.0},
        count: {write_labels(count, {"job": "g", "store": ONE}): 2.0},
    }
    evaluate(tmp_path, [told], wanted)


def test_a_gateway_that_is_started_again_has_one_place_at_a_time(tmp_path: Path) -> None:
    """First in memory, then in memory again with a new id, then on a store."""
    info = 'invoke_gateway_counters_info{{job="g", instance="a", gateway="{0}", store="{1}"}}'
    name = "store_account:invoke_gateway_concurrent_executions_limit:max"
    series = {
        info.format("g-7f3a2b1c", "g-7f3a2b1c"): "1x9 stale",
        info.format("g-00000001", "g-00000001"): "_x10 1x9 stale",
        info.format("g-00000002", ONE): "_x20 1x9",
        'invoke_gateway_concurrent_executions_limit{job="g", instance="a", account="x"}': "100x30",
    }
    asked = [
        (name, time, {write_labels(name, {"job": "g", "store": store, "account": "x"}): 100.0})
        for time, store in (("2m", "a"), ("4m", "a"), ("7m", ONE))
    ]
    run_promtool(tmp_path, series, asked)
