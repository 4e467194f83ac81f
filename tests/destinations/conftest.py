"""A gateway's targets, with an `invoke` that writes down what it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.destinations.targets import Targets
from gateway.invocation import Function
from gateway.queue.event import Event
from tests.live.clients import neutral_environment


@pytest.fixture(scope="module", autouse=True)
def _neutral_aws_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with neutral_environment(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture
def invoked() -> list[tuple[str, str | None, bytes, str]]:
    """Function, qualifier, payload and account of each function that was a target."""
    return []


@pytest.fixture
async def make_targets(invoked: list[tuple[Any, ...]]) -> AsyncIterator[Callable[..., Targets]]:
    """Makes targets that are closed when the test ends."""
    made: list[Targets] = []

    async def invoke(function: Function, payload: bytes, *, account: str, cause: Event) -> None:
        invoked.append((function.name, function.qualifier, payload, account))

    def make(**changes: Any) -> Targets:
        made.append(Targets(**{"region": "us-east-1", "invoke": invoke, "timeout_seconds": 60, **changes}))
        return made[-1]

    yield make
    for targets in made:
        await targets.close()


@pytest.fixture
def targets(make_targets: Callable[..., Targets]) -> Targets:
    return make_targets()


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "events.jsonl"
