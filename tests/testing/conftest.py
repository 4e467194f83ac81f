"""Forks the gateways that the pytest plugin starts. tests/testing/test_outside_project.py executes them."""

import subprocess

import pytest

from tests.support import forking


@pytest.fixture(autouse=True)
def forked_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", forking.Popen)
