"""/metrics in both of Prometheus' formats, as its own tools read them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.sockets import Gateway, Wire, fetch, gateway, invoke
from tests.support.tools import PROMTOOL

# What Prometheus 2 and 3 send.
PROMETHEUS = (
    "Accept: application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    """With a value in every metric that a few calls can give one."""
    with gateway(accounts={"default": {"functions": {"closed": {"reserved_concurrent_executions": 0}}}}) as started:
        started.send(invoke())
        started.send(invoke("closed"))
        started.send(invoke("echo", b"{bad"))
        started.until_idle()
        yield started


def test_prometheus_gets_openmetrics_with_its_end(served: Gateway) -> None:
    answer = served.fetch("/metrics", "GET", PROMETHEUS)
    content_type = answer.header("content-type") or ""
    assert content_type.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert answer.body.endswith(b"\n# EOF\n")
    assert answer.body.count(b"# EOF") == 1


@pytest.mark.parametrize("accept", [(), ("Accept: */*",), ("Accept: text/plain;version=0.0.4",)])
def test_anybody_else_gets_prometheus_text(served: Gateway, accept: tuple[str, ...]) -> None:
    answer = served.fetch("/metrics", "GET", *accept)
    assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# EOF" not in answer.body


def test_an_accept_that_cannot_be_read_gets_prometheus_text(served: Gateway) -> None:
    answer = served.fetch("/metrics", "GET", "Accept: application/openmetrics-text; version=new")
    assert (answer.status, answer.header("content-type")) == (200, "text/plain; version=0.0.4; charset=utf-8")


def test_openmetrics_is_correct_by_a_strict_parser(served: Gateway) -> None:
    body = served.fetch("/metrics", "GET", PROMETHEUS).body.decode()
    families = {family.name: family for family in text_string_to_metric_families(body)}
    assert families["invoke_gateway_invocations"].type == "counter"
    assert families["invoke_gateway_duration_seconds"].type == "histogram"
    assert all(family.documentation.endswith(".") for family in families.values())


def test_promtool_has_nothing_to_say(served: Gateway) -> None:
    promtool = PROMTOOL.require()
    text = served.fetch("/metrics").body
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_a_scrape_that_is_not_read_holds_up_nobody() -> None:
    """And one that is given up does no harm."""
    functions = {f"function-{number}": {"reserved_concurrent_executions": 0} for number in range(20_000)}
    settings = {"metric_functions": len(functions), "accounts": {"default": {"functions": functions}}}
    with gateway(**settings) as many, Wire(many.server.admin.port, receive_buffer=4096) as wire:
        wire.send(b"GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n")
        assert wire.take(1000).startswith(b"HTTP/1.1 200 ")
        assert many.send(invoke()).status == 200
        assert fetch(many.server.admin.port, "/healthz").status == 200
        wire.reset()
        text = many.fetch("/metrics").body.decode()
        assert text.count("invoke_gateway_reserved_concurrent_executions{") == len(functions)
