"""The pytest plugin: fixtures that start a gateway for tests. What they do is in `invoke_gateway.testing`.

pytest loads this file at every start in an environment that has it, for people who do not use it too. So it imports
nothing before a fixture is asked for, and is installed beside the package `gateway`, not in it: a project may have one
of that name.
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
    """Settings of the gateway that tests share: keyword arguments of `invoke_gateway.testing.running_gateway`.

    Define a fixture of this name in conftest.py to have others than the demo backend and AWS's default limits.
    """
    return {}


@pytest.fixture(scope="session")
def invoke_gateway_process(invoke_gateway_settings: Mapping[str, Any]) -> Iterator[InvokeGateway]:
    """The gateway that tests share, started when the first of them asks for it. For fixtures of a wider scope."""
    from invoke_gateway.testing import GatewayNotStarted, running_gateway

    with ExitStack() as stack:
        try:
            gateway = stack.enter_context(running_gateway(**invoke_gateway_settings))
        except GatewayNotStarted as error:
            pytest.fail(str(error), pytrace=False)
        yield gateway


@pytest.fixture
def invoke_gateway(invoke_gateway_process: InvokeGateway) -> Iterator[InvokeGateway]:
    """The gateway that tests share. Holds, faults and events that wait end with the test."""
    from invoke_gateway.testing import GatewayNotStarted

    try:
        invoke_gateway_process.check()
    except GatewayNotStarted as error:
        pytest.fail(str(error), pytrace=False)
    yield invoke_gateway_process
    invoke_gateway_process.reset()


@pytest.fixture
def make_invoke_gateway(invoke_gateway_settings: Mapping[str, Any]) -> Iterator[GatewayFactory]:
    """Starts gateways for one test. What is not given is as in `invoke_gateway_settings`."""
    from invoke_gateway.testing import GatewayNotStarted, running_gateway

    with ExitStack() as stack:

        def make(**settings: Any) -> InvokeGateway:
            __tracebackhide__ = True
            try:
                return stack.enter_context(running_gateway(**{**invoke_gateway_settings, **settings}))
            except GatewayNotStarted as error:
                raise error.with_traceback(None) from None  # the test's own line is what matters

        yield make
