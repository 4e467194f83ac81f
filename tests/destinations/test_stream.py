"""A stream of a real Redis and a real Valkey as a target."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from invoke_gateway.destinations.stream import REMEMBERED_SECONDS
from invoke_gateway.destinations.targets import Destinations
from invoke_gateway.queue.base import DeliveryFailed
from invoke_gateway.queue.outcomes.destination_records import make_record
from tests.support.addresses import find_own_address
from tests.support.events import ARN, ended
from tests.support.processes import free_port, wait_until
from tests.support.stores import KINDS, Store, running_store

ID = "0a5c5f5e-0000-4000-8000-000000000001"


@pytest.fixture(scope="module", params=KINDS)
def started(request: pytest.FixtureRequest) -> Iterator[Store]:
    with running_store(request.param, is_tcp=True) as store:
        yield store


@pytest.fixture
def store(started: Store) -> Store:
    with started.client() as client:
        client.flushall()
    return started


@pytest.fixture
def url(store: Store) -> str:
    return f"{store.url}?stream=dead"


def entries(store: Store, stream: str = "dead") -> list[dict[str, str]]:
    with store.client() as client:
        return [fields for _, fields in client.xrange(stream)]


async def test_a_dead_letter_is_an_entry_with_the_body_as_it_came_and_the_attributes(
    targets: Destinations, store: Store, url: str
) -> None:
    await targets("dead_letter_queue", url, ended(body=b'{"id": 7.10,\n "s": "\xc3\xa4"}'))
    (entry,) = entries(store)
    assert list(entry.items()) == [
        ("kind", "dead_letter_queue"),
        ("id", f"{ID}-dead_letter_queue-60a2418221090"),
        ("function", ARN),
        ("RequestID", ID),
        ("ErrorCode", "200"),
        ("ErrorMessage", "no such report"),
        ("body", '{"id": 7.10,\n "s": "ä"}'),
    ]


async def test_a_destination_is_given_its_record(targets: Destinations, store: Store, url: str) -> None:
    await targets("on_failure", url, ended())
    (entry,) = entries(store)
    assert list(entry) == ["kind", "id", "function", "record"]
    assert entry["record"].encode() == make_record(ended())


async def test_what_is_told_again_after_a_crash_is_appended_once(
    make_targets: Callable[..., Destinations], store: Store, url: str
) -> None:
    for targets in (make_targets(), make_targets()):
        await targets("on_failure", url, ended())
        await targets("dead_letter_queue", url, ended())
    assert [entry["kind"] for entry in entries(store)] == ["on_failure", "dead_letter_queue"]
    with store.client() as client:
        marks = [client.ttl(key) for key in client.keys("invoke-gateway:delivered:dead:*")]
    assert len(marks) == 2
    assert all(REMEMBERED_SECONDS - 60 < seconds <= REMEMBERED_SECONDS for seconds in marks)


async def test_two_events_of_one_request_id_are_two_entries(targets: Destinations, store: Store, url: str) -> None:
    await targets("on_failure", url, ended())
    await targets("on_failure", url, ended(received_at=1_700_000_001.0))
    assert len(entries(store)) == 2


async def test_two_streams_of_one_server_are_told_apart(targets: Destinations, store: Store, url: str) -> None:
    await targets("on_failure", url, ended())
    await targets("on_failure", f"{store.url}?stream=other", ended())
    assert len(entries(store)) == len(entries(store, "other")) == 1


async def test_a_message_that_could_not_be_appended_leaves_no_mark(
    targets: Destinations, store: Store, url: str
) -> None:
    with store.client() as client:
        client.set("dead", "no stream")
    with pytest.raises(DeliveryFailed, match="; check the stream and the server's settings") as raised:
        await targets("on_failure", url, ended())
    assert str(raised.value).startswith(f"redis://127.0.0.1:{store.port}/0?stream=dead: ")
    with store.client() as client:
        client.delete("dead")
    await targets("on_failure", url, ended())
    assert len(entries(store)) == 1


async def test_a_server_that_restarted_is_found_again(targets: Destinations, store: Store, url: str) -> None:
    await targets("on_failure", url, ended())
    store.restart()
    await targets("on_failure", url, ended())
    assert len(entries(store)) == 1


async def test_a_connection_is_kept_until_the_targets_are_closed(targets: Destinations, store: Store, url: str) -> None:
    def connections() -> int:
        with store.client() as client:
            return len([each for each in client.client_list() if each["addr"].startswith("127.0.0.1")])

    for received_at in range(5):
        await targets("on_failure", url, ended(received_at=received_at))
    assert connections() == 1
    await asyncio.gather(*(targets("on_success", url, ended("Success", received_at=at)) for at in range(300)))
    assert 1 < connections() <= 8
    assert len(entries(store)) == 305
    await targets.close()
    await asyncio.to_thread(wait_until, lambda: connections() == 0, "the connection is closed")


async def test_a_server_that_hangs_is_given_up(
    make_targets: Callable[..., Destinations], store: Store, url: str
) -> None:
    targets = make_targets(timeout_seconds=0.3)
    await targets("on_failure", url, ended())
    store.pause()
    try:
        with pytest.raises(DeliveryFailed, match=r"no answer within|imeout"):
            await targets("dead_letter_queue", url, ended())
    finally:
        store.resume()
    await targets("dead_letter_queue", url, ended())
    assert len(entries(store)) == 2


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://:hush@127.0.0.1:{free}/0?stream=a", "check that it runs"),
        ("redis://:hush@127.0.0.1:{port}/0?stream=a", "check user name, password and ACL"),
        ("redis://127.0.0.1:{port}/0?stream=a&nonsense=1", "is not understood: .*'nonsense'; correct it"),
        ("redis://127.0.0.1:{port}/0?stream=a&db=x", "check the query of its URL"),
        ("redis://127.0.0.1:{port}/99?stream=a", "the database 99 of its URL: DB index is out of range"),
    ],
)
async def test_what_cannot_be_reached_is_said_with_its_cure(
    targets: Destinations, store: Store, url: str, message: str
) -> None:
    with pytest.raises(DeliveryFailed, match=message) as raised:
        await targets("on_failure", url.format(port=store.port, free=free_port()), ended())
    assert "hush" not in str(raised.value)


async def test_a_server_that_refuses_other_machines_is_said_with_its_cure(targets: Destinations) -> None:
    own = find_own_address()
    with (
        running_store("valkey", "--bind", "0.0.0.0", is_tcp=True) as store,
        pytest.raises(DeliveryFailed, match=r"\(protected mode\); set its `requirepass`"),
    ):
        await targets("on_failure", f"redis://{own}:{store.port}/0?stream=a", ended())


async def test_a_unix_socket_leads_to_the_same_stream(targets: Destinations, store: Store, url: str) -> None:
    with store.client() as client:
        path = client.config_get("unixsocket")["unixsocket"]
    await targets("on_failure", f"unix://{path}?stream=dead", ended())
    assert len(entries(store)) == 1
