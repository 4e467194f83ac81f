"""Which events a fetch may hand out, where it read a state of the file that is older or newer than the claims."""

from __future__ import annotations

from invoke_gateway.queue.event import Event
from invoke_gateway.queue.sqlite.claims import FileClaims
from invoke_gateway.queue.sqlite.reader import START, EventPage, StoredEvent


def found(seq: int, due_at: float = 1.0) -> StoredEvent:
    return StoredEvent(
        seq, "lane", due_at, Event("r", "a", "f", "arn", b"", b"", [], b"", 1.0, due_at, "lane", key=seq), ""
    )


def test_what_was_claimed_while_a_fetch_read_is_not_handed_out() -> None:
    claims = FileClaims()
    claims.begin("lane")
    claims.add(1, "lane", 1.0)
    taken, next_due_at = claims.claim("lane", EventPage([found(1), found(2)], 7.0))
    assert ([one.seq for one in taken], next_due_at) == ([2], 7.0)


def test_what_ended_while_a_fetch_read_is_not_handed_out() -> None:
    claims = FileClaims()
    claims.add(1, "lane", 1.0)
    claims.begin("lane")
    claims.remove(1)
    assert claims.claim("lane", EventPage([found(1)], None)) == ([], None)


def test_what_became_free_while_a_fetch_read_is_told_and_handed_out_by_the_next() -> None:
    claims = FileClaims()
    claims.add(1, "lane", 1.0)
    claims.add(2, "lane", 2.0)
    claims.begin("lane")
    claims.release(1)
    taken, next_due_at = claims.claim("lane", EventPage([found(1), found(3, 3.0)], 7.0))
    claims.end()
    assert ([one.seq for one in taken], next_due_at) == ([3], 1.0)
    assert claims.begin("lane") < (1.0, 1)


def test_a_fetch_begins_behind_what_was_handed_out_until_that_ends_or_comes_back() -> None:
    claims = FileClaims()
    assert claims.begin("lane") == START
    claims.claim("lane", EventPage([found(1), found(2)], None))
    claims.end()
    assert claims.begin("lane") == (1.0, 2)
    claims.end()
    claims.release(2)
    assert claims.begin("lane") == (1.0, 1)
    claims.end()
    claims.remove(1)
    assert claims.begin("lane") == START
    assert repr(claims._lanes) == "{}"


def test_what_came_while_a_fetch_read_and_was_read_by_it_is_not_told_as_waiting() -> None:
    claims = FileClaims()
    claims.begin("lane")
    claims.add_free(1, "lane", 1.0)
    taken, next_due_at = claims.claim("lane", EventPage([found(1)], None))
    assert ([one.seq for one in taken], next_due_at) == ([1], None)
