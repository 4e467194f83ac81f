"""Forks the gateways that `prove` starts, and `prove` itself."""

import subprocess

import pytest

from tests.support import forking


@pytest.fixture(autouse=True)
def forked_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", forking.Popen)
