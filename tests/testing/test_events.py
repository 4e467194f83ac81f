"""Asynchronous invocations of a gateway for tests: waited for, looked at, and none left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from invoke_gateway.testing import EventsNotSettled, InvokeGateway, QueueFailed, running_gateway
from tests.support.processes import fetch_json, free_port

ONE_ATTEMPT = Config(retries={"total_max_attempts": 1})


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("letters")


@pytest.fixture(scope="module")
def shared(letters: Path) -> Iterator[InvokeGateway]:
    functions = {
        "fail": {"dead_letter_queue": f"file://{letters}/dead.jsonl"},
        "fail-slowly": {},
        "fail-untold": {"maximum_retry_attempts": 0, "dead_letter_queue": f"file://{letters}/no/such/folder.jsonl"},
    }
    with running_gateway(
        reserve={"sleep-held": 1},
        accounts={"default": {"functions": functions}},
        async_={"delivery_attempts": 2},
    ) as made:
        yield made


@pytest.fixture
def gateway(shared: InvokeGateway) -> Iterator[InvokeGateway]:
    yield shared
    shared.reset()
    shared.settle_events()


def send(gateway: InvokeGateway, function: str, payload: Any = None) -> None:
    client = boto3.client("lambda", **gateway.client_settings, config=ONE_ATTEMPT)
    sent = client.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(payload).encode())
    client.close()
    assert sent["StatusCode"] == 202


def count(gateway: InvokeGateway) -> int:
    return int(fetch_json(f"{gateway.admin_url}/queue")["events"])


def test_after_settling_every_event_has_had_its_runs_and_its_dead_letter_can_be_read(
    gateway: InvokeGateway, letters: Path
) -> None:
    """Thirty of them: also the one whose end is just being written is waited for."""
    for number in range(30):
        send(gateway, "fail", {"id": number})
    gateway.settle_events()
    read = [json.loads(line) for line in (letters / "dead.jsonl").read_text().splitlines()]
    assert sorted(json.loads(letter["body"])["id"] for letter in read) == list(range(30))
    assert {letter["attributes"]["ErrorMessage"] for letter in read} == {"The function fail fails."}


def test_settling_waits_for_an_event_that_runs(gateway: InvokeGateway) -> None:
    send(gateway, "sleep", {"seconds": 0.5})
    gateway.settle_events()
    assert count(gateway) == 0
    assert gateway.in_flight() == 0


def test_without_any_event_there_is_nothing_to_wait_for(gateway: InvokeGateway) -> None:
    gateway.settle_events(0)


def test_what_does_not_settle_is_named(gateway: InvokeGateway) -> None:
    with gateway.hold_all("sleep-held"):
        send(gateway, "sleep-held")
        send(gateway, "sleep-held")
        with pytest.raises(EventsNotSettled, match=r"^after 0.2 seconds there are still events: sleep-held: 2 waiting"):
            gateway.settle_events(0.2)


def test_an_event_whose_target_has_failed_for_good_is_not_waited_for(gateway: InvokeGateway) -> None:
    send(gateway, "fail-untold")
    gateway.settle_events()
    assert fetch_json(f"{gateway.admin_url}/queue")["undelivered"] == 1


def test_reset_drops_what_waits(gateway: InvokeGateway) -> None:
    send(gateway, "fail-untold")
    gateway.settle_events()
    gateway.hold_all("sleep-held")
    for _ in range(150):
        send(gateway, "sleep-held", {"seconds": 30})
    gateway.reset()
    assert count(gateway) == 0
    assert gateway.in_flight() == 0


def test_events_that_the_backend_keeps_are_none_of_the_gateways() -> None:
    with running_gateway(async_={"mode": "forward"}) as gateway:
        send(gateway, "echo")
        gateway.settle_events(0)
        gateway.reset()


def test_a_gateway_that_has_ended_is_said() -> None:
    with running_gateway() as gateway:
        pass
    with pytest.raises(QueueFailed, match="no gateway answers"):
        gateway.settle_events()


@pytest.mark.parametrize("listen", [{}, {"listen": "127.0.0.1:{port}"}])
def test_events_lie_in_the_folder_of_the_gateway_and_nowhere_else(
    listen: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on a port of one's own: the developer's own gateway may listen there at other times."""
    for name in ("HOME", "XDG_STATE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    with running_gateway(**{key: value.format(port=free_port()) for key, value in listen.items()}) as gateway:
        folder = Path(gateway._process._folder.name)
        store = Path(fetch_json(f"{gateway.admin_url}/queue")["store"])
        assert folder in store.parents
        assert store.exists()
        assert [path for path in tmp_path.iterdir() if path != folder] == []
    assert not store.exists()
