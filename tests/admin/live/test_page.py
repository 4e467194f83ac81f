"""The live page may run nothing but itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from invoke_gateway.admin.live.page import load_page
from tests.support.sockets import Gateway, gateway


@pytest.fixture
def served() -> Iterator[Gateway]:
    with gateway(accounts={"default": {"concurrent_executions": 2}}) as started:
        yield started


def test_the_page_may_run_nothing_but_itself(served: Gateway) -> None:
    answer = served.fetch("/")
    assert answer.status == 200
    assert answer.header("content-type") == "text/html; charset=utf-8"
    policy = answer.header("content-security-policy") or ""
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert answer.body == load_page().html
    assert not re.search(rb"\b(transition|animation|@keyframes)\b", answer.body), "a bar changes with its number"
    assert not re.search(rb"(href|src)=\"(?!data:)", answer.body), "the page is one file"
    assert b" style=" not in answer.body, "the policy would not let it in"
    assert answer.body.count(b"http") == answer.body.count(b"http://www.w3.org/2000/svg"), "names of formats only"
