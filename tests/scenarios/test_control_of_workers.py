"""`/control` and `control.follow_backend` through two workers, whose admin listener is the supervisor's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import invoke as run
from tests.support.backends import BackendCall
from tests.support.lambda_backend import FollowedBackend
from tests.support.processes import wait_until
from tests.support.served import Served, served
from tests.support.sockets import Backend, fetch


class FollowedServer(Backend):
    """Runs a backend that has concurrency settings of its own."""

    def __init__(self, functions: FollowedBackend) -> None:
        super().__init__()
        self.functions = functions

    async def answer_call(self, call: BackendCall) -> None:
        if not self.functions.answer(call):
            await super().answer_call(call)


@pytest.fixture
def functions() -> FollowedBackend:
    made = FollowedBackend("checkout", "search")
    made.reserved = {"search": 4}
    return made


@pytest.fixture
def gateway(functions: FollowedBackend, tmp_path: Path) -> Iterator[Served]:
    behind = FollowedServer(functions).start()
    try:
        control = {"follow_backend": True, "follow_interval_seconds": 0.2}
        account = {"concurrent_executions": 200, "requests_per_second": "off"}
        settings = {"backend": {"url": behind.backend.url}, "control": control, "accounts": {"default": account}}
        with served(tmp_path, workers=2, **settings) as started:
            yield started.until_up()
    finally:
        behind.stop()


def read_rows(gateway: Served) -> dict[str, tuple[int, str]]:
    functions = json.loads(fetch(gateway.admin, "/limits").body)["accounts"][0]["functions"]
    return {row["function"]: (row["ceiling"], row["set_by"]) for row in functions}


def control(gateway: Served, *arguments: str) -> str:
    result = run("control", *arguments, "--admin", f"127.0.0.1:{gateway.admin}")
    assert result.exit_code == 0, result.output
    return result.stdout


def test_any_worker_prints_sets_and_drops_and_each_follows_the_backend(
    gateway: Served, functions: FollowedBackend, tmp_path: Path
) -> None:
    wait_until(lambda: read_rows(gateway).get("search") == (4, "backend"), "the backend's value is shown")
    file = tmp_path / "control.yaml"
    file.write_text("accounts: {default: {functions: {checkout: {reserved_concurrent_executions: 3}}}}")
    assert control(gateway, "import", str(file)) == "1 function changed\n"
    wait_until(lambda: read_rows(gateway).get("checkout") == (3, "API"), "the value of the document is shown")
    accounts = {"default": {"functions": {"checkout": {"reserved_concurrent_executions": 3}}}}
    for _ in range(4):  # which of the workers answers is not known
        assert json.loads(control(gateway, "export", "--json"))["accounts"] == accounts
    functions.reserved = {"search": 4, "checkout": 5}
    assert control(gateway, "reset", "checkout") == "dropped of checkout: reserved_concurrent_executions\n"
    wait_until(lambda: read_rows(gateway).get("checkout") == (5, "backend"), "the backend's value is shown")
    assert json.loads(control(gateway, "export", "--json"))["accounts"] == {}
