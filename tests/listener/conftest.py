"""One gateway for each module of tests, which holds nothing after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.sockets import Gateway, gateway, invoke


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with gateway(**request.module.SETTINGS) as started:
        yield started


@pytest.fixture
def served(shared: Gateway) -> Iterator[Gateway]:
    """A gateway that after the test holds nothing, and serves the next client."""
    shared.forget()
    yield shared
    shared.backend.on_head = None
    shared.release()
    shared.until_idle()
    assert shared.send(invoke(body=b'"still there"')).body == b'"still there"'


@pytest.fixture(params=["invoke", "admin"])
def port(served: Gateway, request: pytest.FixtureRequest) -> int:
    return served.port if request.param == "invoke" else served.server.admin.port
