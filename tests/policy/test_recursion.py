"""How often a chain of calls has been through a function, in both formats, and what is written of it."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from botocore.handlers import add_recursion_detection_header
from hypothesis import example, given
from hypothesis import strategies as st

from invoke_gateway.policy.recursion import BOUND, begin_lineage, extend, hash_function, is_loop, parse_lineage

A, B = b"aaaaaaaa", b"bbbbbbbb"
ROOT = b"Root=1-5759e988-bd862e3fe1be46a994272793"
WELL_FORMED = re.compile(rb"(\d{1,5}):[0-9a-f]{8}:(\d{1,3})|[0-9a-f]{8}:\d{1,5}(\|[0-9a-f]{8}:\d{1,5}){1,15}")

hashes = st.text("0123456789abcdef", min_size=8, max_size=8).map(str.encode)
names = st.binary(max_size=30).filter(lambda text: b";" not in text)


def lineage_of(header: bytes) -> bytes:
    return header.rpartition(b"Lineage=")[2]


def run_chain(functions: list[bytes], header: bytes = ROOT) -> int:
    """How many of these invocations run before one is stopped, each with the header of the one before."""
    for number, function in enumerate(functions):
        if is_loop(header, function):
            return number
        header = extend(header, function)
    return len(functions)


@pytest.mark.parametrize(
    ("header", "extended"),
    [
        (ROOT, ROOT + b";Lineage=1:aaaaaaaa:0"),
        (ROOT + b";", ROOT + b";Lineage=1:aaaaaaaa:0"),
        (b"", b"Lineage=1:aaaaaaaa:0"),
        (b"Lineage=1:aaaaaaaa:0", b"Lineage=2:aaaaaaaa:0"),
        (b"Lineage=15:aaaaaaaa:255", b"Lineage=16:aaaaaaaa:255"),
        (b"Lineage=1:d0782663:7", b"Lineage=d0782663:1|aaaaaaaa:1"),
        (b"Lineage=d0782663:3", b"Lineage=d0782663:3|aaaaaaaa:1"),
        (b"Lineage=d0782663:3|aaaaaaaa:4|68fd508a:5", b"Lineage=d0782663:3|aaaaaaaa:5|68fd508a:5"),
        (b"Lineage=AAAAAAAA:4", b"Lineage=5:aaaaaaaa:0"),
    ],
)
def test_the_lineage_counts_one_invocation_more(header: bytes, extended: bytes) -> None:
    """In the format that has one hash while there is one, as pairs from the second function on."""
    assert extend(header, A) == extended


@pytest.mark.parametrize(
    "form",
    [
        b"root=1-a;parent=b;sampled=1;lineage=%b",
        b"ROOT=1-a;LINEAGE=%b;Sampled=?",
        b"Self=1-b;Lineage=%b;Root=1-a;Unknown=x=y;;",
        b" Root=1-a; lineage=%b",
        b"NotLineage=1:aaaaaaaa:0;Lineage=%b;",
    ],
)
def test_every_other_field_stays_as_it_is(form: bytes) -> None:
    """Their order, the case of their keys, and fields that nobody knows."""
    assert extend(form % b"1:aaaaaaaa:0", A) == form % b"2:aaaaaaaa:0"
    assert is_loop(form % b"16:aaaaaaaa:0", A)


@pytest.mark.parametrize(
    "lineage",
    [
        b"",
        b"1",
        b"1:aaaaaaaa",
        b"32768:aaaaaaaa:0",
        b"99999:aaaaaaaa:0",
        b"17:aaaaaaaa:256",
        b"17:aaaaaaa:0",
        b"17:gaaaaaaa:0",
        b"-17:aaaaaaaa:0",
        b"17:aaaaaaaa:0:0",
        b"aaaaaaaa:17|",
        b"|aaaaaaaa:17",
        b"aaaaaaaa:17|bbbbbbbb",
        b"aaaaaaaa:+17",
        b"17:aaaaaaaa:0|bbbbbbbb:1",
        b"|".join(b"%08x:17" % number for number in range(17)),
        "17:aaaaaaaa:٣".encode(),
    ],
)
def test_a_lineage_that_cannot_be_read_counts_nothing_and_goes_on_as_it_is(lineage: bytes) -> None:
    header = ROOT + b";Lineage=" + lineage + b";Self=1"
    assert not is_loop(header, A)
    assert extend(header, A) == header


@given(st.one_of(st.binary(max_size=200), names.map(lambda text: b"Lineage=" + text)), hashes)
@example(b"Lineage=" + b" " * 60_000 + b"x", A)
@example(b";" + b" " * 60_000 + b"x", A)
def test_no_header_is_too_odd(header: bytes, function: bytes) -> None:
    """Whatever comes, it is kept: the lineage is counted on, added, or left alone."""
    extended = extend(header, function)
    if parse_lineage(extended.lower().rpartition(b"lineage=")[2].partition(b";")[0]) is None:
        assert extended == header
    else:
        assert extended.lower().partition(b"lineage=")[0].startswith(header.lower().partition(b"lineage=")[0])
    is_loop(header, function)


@pytest.mark.parametrize(
    ("lineage", "is_over"),
    [
        (b"15:aaaaaaaa:0", False),
        (b"16:aaaaaaaa:0", True),
        (b"aaaaaaaa:15|bbbbbbbb:16", False),
        (b"aaaaaaaa:16|bbbbbbbb:1", True),
        (b"16:d0782663:0", False),
        (b"17:d0782663:0", True),
        (b"32767:d0782663:255", True),
        (b"d0782663:17|bbbbbbbb:1", True),
    ],
)
def test_the_bound_is_16_runs_of_the_function_or_more_than_that_of_any(lineage: bytes, is_over: bool) -> None:
    assert is_loop(ROOT + b";Lineage=" + lineage, A) is is_over


STARTS = [
    ROOT,
    ROOT + b";Lineage=1:d0782663:0",
    ROOT + b";Lineage=5:d0782663:255",
    ROOT + b";Lineage=d0782663:3|68fd508a:5",
]


@pytest.mark.parametrize("header", STARTS)
@pytest.mark.parametrize("loop", [1, 2, 3, 10])
def test_a_loop_is_stopped_after_16_rounds_whichever_format_it_began_with(header: bytes, loop: int) -> None:
    functions = [b"%08x" % (number % loop) for number in range(1000)]
    assert run_chain(functions, header) == BOUND * loop


@pytest.mark.parametrize("header", STARTS)
def test_a_long_chain_of_different_functions_is_no_loop(header: bytes) -> None:
    assert run_chain([b"%08x" % number for number in range(5000)], header) == 5000


@pytest.mark.parametrize("loop", range(17, 31))
def test_a_loop_through_more_functions_than_there_are_places_is_stopped_too(loop: int) -> None:
    """Some of its functions keep their place."""
    functions = [hash_function("us-east-1", "0", f"f{number % loop}") for number in range(5000)]
    assert BOUND * loop <= run_chain(functions) <= (BOUND + 2) * loop


@pytest.mark.parametrize("before", [15, 16, 17, 100])
@pytest.mark.parametrize("loop", [1, 3, 5])
def test_a_loop_that_begins_late_is_stopped_too(before: int, loop: int) -> None:
    functions = [hash_function("us-east-1", "0", f"other{number}") for number in range(before)]
    functions += [hash_function("us-east-1", "0", f"f{number % loop}") for number in range(5000)]
    assert BOUND * loop <= run_chain(functions) - before <= (BOUND + 1) * loop


@given(hashes, hashes, st.integers(16, 40))
@example(b"0000000e", b"0000001e", 20)
@example(b"0000000f", b"0000001f", 20)
def test_two_functions_cannot_take_the_place_from_each_other_for_ever(one: bytes, other: bytes, before: int) -> None:
    functions = [hash_function("us-east-1", "0", f"other{number}") for number in range(before)]
    ran = run_chain([*functions, *[one, other] * 100])
    assert ran - before <= (BOUND + 1) * 2


@given(st.lists(st.integers(0, 15), max_size=400))
def test_each_function_of_a_chain_has_its_own_count(chain: list[int]) -> None:
    """The first that is stopped is the first that would run for the 17th time."""
    runs: Counter[int] = Counter()
    expected = 0
    for function in chain:
        runs[function] += 1
        if runs[function] > BOUND:
            break
        expected += 1
    assert run_chain([b"%08x" % function for function in chain]) == expected


@given(st.lists(st.integers(0, 60), max_size=600))
def test_nothing_is_stopped_that_has_not_run_16_times(chain: list[int]) -> None:
    """However many functions compete for the places."""
    functions = [hash_function("us-east-1", "0", str(number)) for number in chain]
    ran = run_chain(functions)
    assert ran == len(functions) or functions[:ran].count(functions[ran]) >= BOUND


def spelled(lineages: st.SearchStrategy[list[tuple[bytes, int]]]) -> st.SearchStrategy[bytes]:
    pairs = lineages.map(lambda each: b"|".join(b"%b:%d" % pair for pair in each))
    current = st.tuples(st.integers(0, 32_767), hashes, st.integers(0, 255)).map(lambda each: b"%d:%b:%d" % each)
    return pairs | current


@given(spelled(st.lists(st.tuples(hashes, st.integers(0, 99_999)), min_size=1, max_size=16)), st.lists(hashes))
def test_what_is_written_can_be_read_and_stays_within_its_bounds(lineage: bytes, functions: list[bytes]) -> None:
    """However often the loop is let go on: 16 pairs, a counter of 15 bits and one of 8."""
    header = b"Lineage=" + lineage
    for function in [*functions, *[A] * 40]:
        header = extend(header, function)
        written = lineage_of(header)
        found = WELL_FORMED.fullmatch(written)
        assert found, written
        assert found[1] is None or (int(found[1]) <= 32_767 and int(found[2]) <= 255)
    assert is_loop(header, A) or A not in header


def test_who_may_loop_is_counted_up_to_the_bound_so_that_others_are_not_stopped_for_it() -> None:
    header = ROOT
    for _ in range(40_000):
        header = extend(header, A)
    assert lineage_of(header) == b"16:aaaaaaaa:0"
    assert is_loop(header, A)
    assert not is_loop(header, B)


def test_pairs_come_back_from_botocore_as_they_were_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a function it sends the header on with `|` written as %7C."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "probe")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-a;Lineage=aaaaaaaa:15|bbbbbbbb:2")
    request: dict[str, dict[str, str]] = {"headers": {}}
    add_recursion_detection_header(request)
    sent = request["headers"]["X-Amzn-Trace-Id"].encode()
    assert b"%7C" in sent
    assert not is_loop(sent, A)
    assert extend(sent, A) == b"Root=1-a;Lineage=aaaaaaaa:16|bbbbbbbb:2"
    assert is_loop(extend(sent, A).replace(b"|", b"%7c"), A)


def test_a_function_is_known_by_its_arn() -> None:
    """The same in every gateway and process; another Region, account or name is another function."""
    ours = hash_function("us-east-1", "111122223333", "checkout")
    assert ours == b"a3546a67"
    others = [("eu-west-1", "111122223333", "checkout"), ("us-east-1", "1", "checkout"), ("us-east-1", "1", "x")]
    assert ours not in {hash_function(*other) for other in others}
    assert begin_lineage(ours) == b"1:a3546a67:0"
