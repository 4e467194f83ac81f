"""Which events a fetch may hand out, where it read a state of the file that is older or newer than the claims."""

from __future__ import annotations

from invoke_gateway.queue.event import Event
from invoke_gateway.queue.sqlite.claims import Claims
from invoke_gateway.queue.sqlite.reader import START, Found, Page


def found(seq: int, due_at: float = 1.0) -> Found:
    return Found(seq, "lane", due_at, Event("r", "a", "f", "arn", b"", b"", [], b"", 1.0, due_at, "lane", key=seq), "")


def test_what_was_claimed_while_a_fetch_read_is_not_handed_out() -> None:
    claims = Claims()
    claims.begin("lane")
    claims.add(1, "lane", 1.0)
    taken, next_due_at = claims.claim("lane", Page([found(1), found(2)], 7.0))
    assert ([one.seq for one in taken], next_due_at) == ([2], 7.0)


def test_what_ended_while_a_fetch_read_is_not_handed_out() -> None:
    claims = Claims()
    claims.add(1, "lane", 1.0)
    claims.begin("lane")
    claims.remove(1)
    assert claims.claim("lane", Page([found(1)], None)) == ([], None)


def test_what_became_free_while_a_fetch_read_is_told_and_handed_out_by_the_next() -> None:
    claims = Claims()
    claims.add(1, "lane", 1.0)
    claims.add(2, "lane", 2.0)
    claims.begin("lane")
    claims.give_back(1)
    taken, next_due_at = claims.claim("lane", Page([found(1), found(3, 3.0)], 7.0))
    claims.end()
    assert ([one.seq for one in taken], next_due_at) == ([3], 1.0)
    assert claims.begin("lane") < (1.0, 1)


def test_a_fetch_begins_behind_what_was_handed_out_until_that_ends_or_comes_back() -> None:
    claims = Claims()
    assert claims.begin("lane") == START
    claims.claim("lane", Page([found(1), found(2)], None))
    claims.end()
    assert claims.begin("lane") == (1.0, 2)
    claims.end()
    claims.give_back(2)
    assert claims.begin("lane") == (1.0, 1)
    claims.end()
    claims.remove(1)
    assert claims.begin("lane") == START
    assert repr(claims._lanes) == "{}"


def test_what_came_while_a_fetch_read_and_was_read_by_it_is_not_told_as_waiting() -> None:
    claims = Claims()
    claims.begin("lane")
    claims.came(1, "lane", 1.0)
    taken, next_due_at = claims.claim("lane", Page([found(1)], None))
    assert ([one.seq for one in taken], next_due_at) == ([1], None)
