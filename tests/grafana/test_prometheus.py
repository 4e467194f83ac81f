"""A real Prometheus scrapes gateways under load; every expression of the dashboards and the rules must return data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import wait_until
from tests.support.sockets import gateway
from tests.support.tools import PROMETHEUS

from .answers import ask, list_expressions, summarize, watched
from .load import ACCOUNT, FULL, LIMITED, REASONS
from .prometheus import Prometheus, prometheus


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    PROMETHEUS.require()
    with watched(tmp_path_factory.mktemp("prometheus")) as started:
        yield started


def value(server: Prometheus, query: str) -> float:
    """That of the one series; 0 where there is none."""
    found = server.ask("query", query=query)["result"]
    assert len(found) < 2, f"{query}: {found}"
    return float(found[0]["value"][1]) if found else 0.0


def test_every_expression_returns_data(server: Prometheus) -> None:
    """`python -m tests.grafana` prints them one by one."""
    answers = [ask(server, expression) for expression in list_expressions()]
    print(summarize(answers))
    assert [answer for answer in answers if answer.error or not answer.series] == []
    assert len(answers) > 100


@pytest.mark.parametrize(
    "query",
    [
        *(f'sum(invoke_gateway_throttles_total{{reason="{reason}"}})' for reason in sorted(REASONS)),
        'sum(invoke_gateway_retry_requests_total{function="sleep"})',
        'sum(invoke_gateway_errors_total{function="fail"})',
        'sum(invoke_gateway_client_disconnects_total{phase="request"})',
        'sum(invoke_gateway_client_disconnects_total{phase="response"})',
        'sum(invoke_gateway_upstream_errors_total{kind="refused"})',
        'sum(invoke_gateway_refusals_total{error="InvalidRequestContentException"})',
        "sum(invoke_gateway_passed_through_total)",
        'sum(invoke_gateway_signature_refusals_total{cause="missing"})',
        'sum(invoke_gateway_refusals_total{error="AccessDeniedException"})',
        f'sum(invoke_gateway_caller_concurrent_executions_limit{{caller="{LIMITED}"}})',
        'max(invoke_gateway_degraded{cause="settings_invalid"})',
        f'sum(invoke_gateway_held_concurrent_executions{{account="{ACCOUNT}"}})',
        f'max(max_over_time(invoke_gateway_oldest_execution_age_seconds{{account="{FULL}"}}[5m]))',
        "max(max_over_time(instance:invoke_gateway_upstream_errors:ratio_rate5m[5m]))",
        "max(max_over_time(store_account_function:invoke_gateway_reserved_concurrency:ratio[5m])) >= 1",
        "max(max_over_time(store_account:invoke_gateway_unreserved_concurrency:ratio[5m])) >= 1",
        "sum(invoke_gateway_store_acquires_total)",
        "sum(process_cpu_seconds_total)",
        'sum(invoke_gateway_async_events_received_total{function="fail"})',
        'sum(invoke_gateway_async_events_dropped_total{function="fail", condition="RetriesExhausted"})',
        'sum(invoke_gateway_async_event_retries_total{cause="error"})',
        "sum(invoke_gateway_dead_letter_errors_total)",
        'sum(invoke_gateway_destination_delivery_failures_total{kind="on_failure"})',
        "sum(invoke_gateway_async_event_age_seconds_count)",
        'max(store_account_function_state:invoke_gateway_async_events:depth{state="undelivered"})',
        "max(max_over_time(store_account:invoke_gateway_async_oldest_event_age_seconds:max[5m]))",
    ],
)
def test_the_load_was_of_every_kind(server: Prometheus, query: str) -> None:
    """Or a series of noughts would pass for data."""
    wait_until(lambda: value(server, query) > 0, query)


@pytest.mark.parametrize("alert", ["InvokeGatewayDegraded", "InvokeGatewayUpstreamErrors"])
def test_an_alert_with_a_cause_is_pending_for_the_gateway_that_has_it(server: Prometheus, alert: str) -> None:
    """The other gateway has none."""
    wait_until(lambda: value(server, f'count(ALERTS{{alertname="{alert}"}})') == 1, alert)


@pytest.mark.parametrize(
    "alert",
    [
        "InvokeGatewayDown",
        "InvokeGatewayAbsent",
        "InvokeGatewaySlotHeldTooLong",
        "InvokeGatewayLimitsMismatch",
        "InvokeGatewayCountsAlone",
        "InvokeGatewayCountersSplit",
    ],
)
def test_an_alert_without_a_cause_is_not_pending(server: Prometheus, alert: str) -> None:
    assert value(server, f'count(ALERTS{{alertname="{alert}"}})') == 0


def test_two_gateways_that_share_have_their_limits_once_and_the_third_has_its_own(server: Prometheus) -> None:
    limit = f'store_account:invoke_gateway_concurrent_executions_limit:max{{account="{ACCOUNT}"}}'
    found = server.ask("query", query=limit)["result"]
    by_store = {series["metric"]["store"]: float(series["value"][1]) for series in found}
    (own,) = (store for store in by_store if not store.startswith("unix://"))
    (shared,) = by_store.keys() - {own}
    assert own.startswith("127.0.0.1:")
    assert by_store == {own: 1000, shared: 200}
    assert value(server, f'store:invoke_gateway_gateways:min{{store="{shared}"}}') == 2
    assert value(server, f'store:invoke_gateway_gateways:count{{store="{shared}"}}') == 2


def test_with_its_token_it_scrapes_a_gateway_whose_metrics_need_it(tmp_path: Path) -> None:
    """By the configuration of docs/guides/monitoring.md."""
    PROMETHEUS.require()
    token = tmp_path / "admin-token"
    token.write_text("3f2a0c\n")
    token.chmod(0o600)
    with gateway(admin_token=f"file:{token}", admin_reads="token") as served:
        targets = [str(served.server.admin)]
        given = {"authorization": {"credentials_file": str(token)}}
        for folder, more, is_up in ((tmp_path / "with", given, 1), (tmp_path / "without", {}, 0)):
            folder.mkdir()
            with prometheus(folder, targets, **more) as started:
                wait_until(lambda: started.ask("query", query="up")["result"], "the gateway was scraped")
                assert value(started, "up") == is_up


def test_what_is_no_expression_is_an_error_and_not_just_empty(server: Prometheus) -> None:
    expression = list_expressions()[0]
    assert "parse error" in ask(server, expression._replace(text="sum(", kind="range")).error
    assert ask(server, expression._replace(text="sum(no_such_metric)", kind="range")) == (
        expression._replace(text="sum(no_such_metric)", kind="range"),
        0,
        "",
    )
