"""Runs each test that drives a stage where all is there at once, and where the stage has to wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import stages

SPEEDS = {"at once": (True, True), "a wait behind the body": (True, False), "by waiting": (False, False)}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if getattr(metafunc.module, "drive", None) is stages.drive:
        metafunc.parametrize("speed", SPEEDS, indirect=True)


@pytest.fixture(autouse=True)
def speed(request: pytest.FixtureRequest) -> Iterator[None]:
    speed = SPEEDS[getattr(request, "param", "by waiting")]
    stages.Speed.has_body, stages.Speed.has_rest = speed
    yield
    stages.Speed.has_body = stages.Speed.has_rest = False
