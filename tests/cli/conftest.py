"""Keeps commands from waiting for a gateway that is not there, but in the test of that wait."""

import pytest

from invoke_gateway.cli import options


@pytest.fixture(autouse=True)
def _no_wait_for_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "START_SECONDS", 0.0)
