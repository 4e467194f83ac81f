"""Real Redis and Valkey servers, and an own part of one for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.event_places import StreamPlace
from tests.support.stores import KINDS, Store, running_store

_numbers = count()


@pytest.fixture(scope="module", params=KINDS)
def kept(request: pytest.FixtureRequest) -> Iterator[Store]:
    with running_store(request.param) as running:
        yield running


@pytest.fixture
def place(kept: Store) -> Iterator[StreamPlace]:
    place = StreamPlace(kept, f"faults-{os.getpid()}-{next(_numbers)}")
    yield place
    place.check()
