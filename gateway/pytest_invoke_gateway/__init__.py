"""Provides fixtures that start a gateway for tests, by means of `invoke_gateway.testing`.

pytest loads this plugin at every start in an environment that has it, also in runs without its fixtures. So the plugin
imports nothing before a test uses a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from invoke_gateway.testing import GatewayFactory, InvokeGateway


@pytest.fixture(scope="session")
def invoke_gateway_settings() -> Mapping[str, Any]:
    """Returns settings of the shared gateway: keyword arguments of `invoke_gateway.testing.running_gateway`.

    Define a fixture of this name in conftest.py to replace the demo backend and AWS's default limits.
    """
    return {}


@pytest.fixture(scope="session")
def invoke_gateway_process(invoke_gateway_settings: Mapping[str, Any]) -> Iterator[InvokeGateway]:
    """Starts the shared gateway when the first test uses it. For fixtures of a wider scope."""
    from invoke_gateway.testing import GatewayNotStarted, running_gateway

    with ExitStack() as stack:
        try:
            gateway = stack.enter_context(running_gateway(**invoke_gateway_settings))
        except GatewayNotStarted as error:
            pytest.fail(str(error), pytrace=False)
        yield gateway


@pytest.fixture
def invoke_gateway(invoke_gateway_process: InvokeGateway) -> Iterator[InvokeGateway]:
    """Lends the shared gateway to one test. Holds, faults and events that wait end with the test."""
    from invoke_gateway.testing import GatewayNotStarted

    try:
        invoke_gateway_process.check()
    except GatewayNotStarted as error:
        pytest.fail(str(error), pytrace=False)
    yield invoke_gateway_process
    invoke_gateway_process.reset()


@pytest.fixture
def make_invoke_gateway(invoke_gateway_settings: Mapping[str, Any]) -> Iterator[GatewayFactory]:
    """Starts gateways for one test. Keys that are not given are those of `invoke_gateway_settings`."""
    from invoke_gateway.testing import GatewayNotStarted, running_gateway

    with ExitStack() as stack:

        def make(**settings: Any) -> InvokeGateway:
            __tracebackhide__ = True
            try:
                return stack.enter_context(running_gateway(**{**invoke_gateway_settings, **settings}))
            except GatewayNotStarted as error:
                raise error.with_traceback(None) from None  # the test's own line is what matters

        yield make
