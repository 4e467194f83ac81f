"""The sum of buffered bytes: exact, bounded, and never a dead end."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from invoke_gateway.buffers import Buffers


class Source:
    """A response of `size` bytes on its way in, in pieces; and then on its way out, or all the while if streamed."""

    def __init__(self, size: int = 100, *, is_streamed: bool = False) -> None:
        self.size = size
        self.is_streamed = is_streamed
        self.brought = 0
        self.held = 0
        self.is_paused = False
        self.has_ended = False

    def pause_for_room(self) -> None:
        assert not self.is_paused
        assert not self.has_ended
        self.is_paused = True

    def resume_for_room(self) -> None:
        assert self.is_paused
        assert not self.has_ended
        self.is_paused = False

    def bring(self, buffers: Buffers, size: int) -> None:
        """The next bytes arrive; with the last of them the response is whole."""
        assert not self.is_paused
        assert not self.has_ended
        size = min(size, self.size - self.brought)
        self.brought += size
        self.held += size
        if self.brought == self.size:
            buffers.reserve(size)
            self.end(buffers)
        else:
            buffers.reserve_response(size, self, stays=not self.is_streamed)

    def end(self, buffers: Buffers) -> None:
        self.has_ended = True
        self.is_paused = False
        buffers.end_response(self)

    def leave(self, buffers: Buffers) -> None:
        """The client has taken all that is here."""
        assert self.has_ended or self.is_streamed
        size, self.held = self.held, 0
        buffers.release(size)

    def __repr__(self) -> str:
        state = "ended" if self.has_ended else "waiting" if self.is_paused else "arriving"
        kind = "stream" if self.is_streamed else "whole"
        return f"<Source {kind} {self.held}/{self.brought}/{self.size} {state}>"


def test_requests_find_room_up_to_the_ceiling_and_not_beyond() -> None:
    buffers = Buffers(100)
    buffers.reserve(60)
    assert not buffers.try_reserve(41)
    assert buffers.in_use == 60
    assert buffers.try_reserve(40)
    assert not buffers.try_reserve(1)
    buffers.release(100)
    assert buffers.try_reserve(100)
    assert buffers.in_use == 100


def test_below_the_ceiling_no_response_waits() -> None:
    buffers = Buffers(100)
    sources = [Source() for _ in range(3)]
    for source in sources:
        source.bring(buffers, 33)
    assert buffers.in_use == 99
    assert not any(source.is_paused for source in sources)


def test_at_the_ceiling_one_response_goes_on_and_the_others_wait() -> None:
    buffers = Buffers(100)
    first, second, _ = sources = [Source() for _ in range(3)]
    for source in sources:
        source.bring(buffers, 50)
    assert [source.is_paused for source in sources] == [False, False, True]
    first.bring(buffers, 1)
    assert [source.is_paused for source in sources] == [True, False, True]
    second.bring(buffers, 10)
    assert not second.is_paused, "the favoured one may finish whatever it takes"


def test_when_the_favoured_response_has_left_the_next_goes_on() -> None:
    buffers = Buffers(100)
    first, second, _ = sources = [Source() for _ in range(3)]
    for source in sources:
        source.bring(buffers, 60)
    first.bring(buffers, 1)
    assert [source.is_paused for source in sources] == [True, False, True]
    second.bring(buffers, 35)
    second.bring(buffers, 5)
    assert [source.is_paused for source in sources] == [True, False, True], "its own bytes are still here"
    second.leave(buffers)
    assert [source.is_paused for source in sources] == [True, False, False], "first come, first served"


def test_a_little_that_leaves_slowly_keeps_nobody_waiting_and_much_does() -> None:
    """An eighth of the ceiling may wait for clients; more of it is waited for."""
    for leaving, expected in ((100, [False, False, True]), (101, [False, True, True])):
        buffers = Buffers(800)
        buffers.reserve(leaving)
        sources = [Source(500) for _ in range(3)]
        for source in sources:
            source.bring(buffers, 400)
        assert [source.is_paused for source in sources] == expected
    buffers.release(1)
    assert [source.is_paused for source in sources] == [False, False, True]


def test_a_stream_that_waits_for_its_client_lets_the_next_go_on_instead() -> None:
    buffers = Buffers(800)
    stream, other = Source(is_streamed=True, size=1000), Source(1000)
    other.bring(buffers, 750)
    stream.bring(buffers, 50)
    other.bring(buffers, 1)
    assert (stream.is_paused, other.is_paused) == (False, True)
    buffers.end_response(stream)
    assert not other.is_paused


def test_what_a_stream_holds_is_on_its_way_out() -> None:
    buffers = Buffers(800)
    stream, first, second = Source(is_streamed=True, size=1000), Source(1000), Source(1000)
    stream.bring(buffers, 300)
    first.bring(buffers, 300)
    second.bring(buffers, 300)
    assert second.is_paused, "its client makes room"
    stream.leave(buffers)
    assert not second.is_paused


def test_room_lets_all_go_on() -> None:
    buffers = Buffers(100)
    buffers.reserve(50)
    sources = [Source() for _ in range(3)]
    for source in sources:
        source.bring(buffers, 20)
    sources[0].bring(buffers, 1)
    assert sum(source.is_paused for source in sources) == 2
    buffers.release(50)
    assert not any(source.is_paused for source in sources)


@pytest.mark.parametrize("is_waiting", [True, False])
def test_a_response_that_breaks_off_leaves_no_trace(is_waiting: bool) -> None:
    buffers = Buffers(100)
    favoured, waiting = Source(), Source()
    favoured.bring(buffers, 90)
    waiting.bring(buffers, 90)
    if waiting.is_paused is not is_waiting:
        favoured, waiting = waiting, favoured
    for source in (waiting, favoured):
        source.end(buffers)
        source.leave(buffers)
    assert repr(buffers) == "<Buffers 0/100 waiting=0>"
    again = Source()
    again.bring(buffers, 99)
    assert not again.is_paused


class BuffersMachine(RuleBasedStateMachine):
    """Requests and responses come and go in any order."""

    CEILING = 80
    PIECE = 3
    RESPONSE = 60
    SOURCES = 8

    def __init__(self) -> None:
        super().__init__()
        self.buffers = Buffers(self.CEILING)
        self.requests: list[int] = []
        self.sources: list[Source] = []

    sources_of_test = Bundle("sources")
    requests_of_test = Bundle("requests")

    @rule(target=requests_of_test, size=st.integers(1, 30))
    def request_arrives(self, size: int) -> int:
        if not self.buffers.try_reserve(size):
            return 0
        self.requests.append(size)
        return size

    @rule(size=consumes(requests_of_test))
    def request_is_sent_on(self, size: int) -> None:
        if size:
            self.requests.remove(size)
            self.buffers.release(size)

    @precondition(lambda self: len(self.sources) < self.SOURCES and self.buffers.in_use < self.buffers.ceiling)
    @rule(size=st.integers(1, RESPONSE), is_streamed=st.booleans())
    def response_begins(self, size: int, is_streamed: bool) -> None:
        self.sources.append(Source(size, is_streamed=is_streamed))

    @precondition(lambda self: self.arriving())
    @rule(data=st.data(), size=st.integers(1, PIECE), pieces=st.integers(1, 30))
    def response_goes_on(self, data: st.DataObject, size: int, pieces: int) -> None:
        source = data.draw(st.sampled_from(self.arriving()))
        for _ in range(pieces):
            if source.has_ended or source.is_paused:
                break
            source.bring(self.buffers, size)
            self.check_bound()

    @precondition(lambda self: self.sources)
    @rule(data=st.data())
    def response_breaks_off_or_its_client_leaves(self, data: st.DataObject) -> None:
        source = data.draw(st.sampled_from(self.sources))
        if not source.has_ended:
            source.end(self.buffers)
        source.leave(self.buffers)
        self.sources.remove(source)

    @precondition(lambda self: self.leaving())
    @rule(data=st.data())
    def response_leaves(self, data: st.DataObject) -> None:
        source = data.draw(st.sampled_from(self.leaving()))
        source.leave(self.buffers)
        if source.has_ended:
            self.sources.remove(source)

    @precondition(lambda self: any(source.is_streamed for source in self.arriving()))
    @rule(data=st.data())
    def stream_waits_for_its_client(self, data: st.DataObject) -> None:
        source = data.draw(st.sampled_from([source for source in self.arriving() if source.is_streamed]))
        self.buffers.end_response(source)

    def arriving(self) -> list[Source]:
        return [source for source in self.sources if not source.has_ended and not source.is_paused]

    def leaving(self) -> list[Source]:
        return [source for source in self.sources if source.held and (source.has_ended or source.is_streamed)]

    @invariant()
    def the_sum_is_exact(self) -> None:
        assert self.buffers.in_use == sum(self.requests) + sum(source.held for source in self.sources)

    @invariant()
    def check_bound(self) -> None:
        """The ceiling, an eighth of it, one response; and what each other one brought before it could be stopped."""
        most = self.CEILING + self.CEILING // 8 + self.RESPONSE + self.SOURCES * self.PIECE
        assert self.buffers.in_use <= most, self.sources

    @invariant()
    def nobody_waits_while_there_is_room(self) -> None:
        if self.buffers.in_use < self.buffers.ceiling:
            assert not any(source.is_paused for source in self.sources)

    @invariant()
    def something_can_always_move(self) -> None:
        if any(source.is_paused for source in self.sources):
            assert self.arriving() or self.leaving() or self.requests, self.sources

    def teardown(self) -> None:
        """Everything that is left comes to its end, whatever the order was so far: no wait lasts for ever."""
        for size in self.requests:
            self.buffers.release(size)
        self.requests = []
        while self.sources:
            for source in self.leaving():
                source.leave(self.buffers)
            self.sources = [source for source in self.sources if not source.has_ended]
            assert not self.sources or self.arriving(), f"a dead end: {self.sources}"
            for source in self.arriving()[:1]:
                source.bring(self.buffers, self.PIECE)
        assert repr(self.buffers) == f"<Buffers 0/{self.CEILING} waiting=0>"


BuffersMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=50)
TestBuffersMachine = BuffersMachine.TestCase
