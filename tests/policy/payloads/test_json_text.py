import json
import random
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from invoke_gateway.policy.payloads import json_text
from invoke_gateway.policy.payloads.json_scan import scan
from invoke_gateway.policy.payloads.json_text import find_json_error

DEEP = 20_000  # levels: beyond what msgspec reads on any Python, 1,000 on 3.11 and 10,000 on 3.13

VALID = [
    b"{}",
    b"[]",
    b'""',
    b"null",
    b"true",
    b"false",
    b"0",
    b"-0",
    b"-0.0e-0",
    b"1",
    b"-1",
    b"10",
    b"0.5",
    b"1.0",
    b"0e1",
    b"0e+1",
    b"1E2",
    b"1E+2",
    b"1e-2",
    b"1.5e10",
    b"123e65",
    b"1e400",
    b"-1e400",
    b"1e-400",
    b"1e99999999999999999999",
    b"1" * 5_000,
    b"0." + b"1" * 5_000,
    b" 1",
    b"1 ",
    b"\t\r\n 1 \t\r\n",
    b"[ ]",
    b"{ }",
    b"[1,2]",
    b" [ 1 , 2 ] ",
    b'{"a":1}',
    b'{ "a" : 1 , "b" : [ ] }',
    b'{"a":1,"a":2}',
    b'{"":0}',
    b'{"a":{},"b":[]}',
    b"[[],[[]],{}]",
    b'[null,true,false,0,"",{},[]]',
    rb'"\"\\\/\b\f\n\r\t"',
    rb'"\u0041"',
    rb'"\u0000"',
    rb'"\uFFFF\uabCD"',
    rb'"\\"',
    rb'"\\\\"',
    rb'"\\u12"',
    rb'"\\ud800"',
    b'"/"',
    b'"\x7f"',
    b'"[{,:}]"',
    b'{"[":"]"}',
    '"é€😀"'.encode(),
    '{"é":1}'.encode(),
    '"\u2028\u2029\ufeff"'.encode(),
    '"\U0010ffff\ufdd0"'.encode(),
    rb'"\ud83d\ude00"',
    # surrogates without their other half
    rb'"\ud800"',
    rb'"\uDBFF"',
    rb'"\udc00"',
    rb'"\uDfFf"',
    rb'"\ud800x"',
    rb'"\ud800\n"',
    rb'"\ud800\u0041"',
    rb'"\ud800\ud800"',
    rb'"\udc00\ud800"',
    rb'"\ud800\\"',
    rb'"\\\ud800"',
    rb'"\"\ud800\""',
    rb'{"\ud800":1}',
    rb'["\ud83d\ude00","\ude00",1e5,{"a":[null]}]',
    rb'"\ud800" ',
    '"\\ud800é"'.encode(),
    # deeper than Python's recursion limit
    b"[" * DEEP + b"]" * DEEP,
    b" [ \n" * DEEP + b"\t]\r" * DEEP,
    b'{"":' * DEEP + b"1" + b"}" * DEEP,
    b'{"a":1,"":' * DEEP + b"{}" + b"}" * DEEP,
    b'[{"":' * DEEP + b"1" + b"}]" * DEEP,
    b"[1," * DEEP + b"1" + b",1]" * DEEP,
    b"[[]," * DEEP + b"{}" + b",{}]" * DEEP,
    b"[" * DEEP + rb'"\ud800 \" [{:,}] \u0041 \\"' + b"]" * DEEP,
    b"[" * DEEP + b'"' + b" x" * 70_000 + b'", -1.5e+3, true' + b"]" * DEEP,
    b"[" * DEEP + "é😀".encode().join([b'"', b'"']) + b"]" * DEEP,
]

INVALID = [
    # white space and what is not white space
    b" ",
    b"\n\t\r ",
    b"\x0b1",
    b"\x0c1",
    b"1\x0c",
    b"[\x0b]",
    b"\xa01",
    b"\xc2\xa01",
    "\u20601".encode(),
    b"\x00",
    b"1\x00",
    b"\x1a",
    b"\xef\xbb\xbf1",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe1\x00",
    b"\x001",
    # numbers
    b"-",
    b"+1",
    b"--1",
    b"- 1",
    b"01",
    b"-01",
    b"00",
    b"1.",
    b"-1.",
    b".5",
    b"-.5",
    b"1.e1",
    b"1e",
    b"1E+",
    b"1e-",
    b"1e1.5",
    b"1.5.5",
    b"1e1e1",
    b"0x1",
    b"1_0",
    b"1a",
    b"1 2",
    b"1 000",
    b"NaN",
    b"-NaN",
    b"Infinity",
    b"-Infinity",
    b"[NaN]",
    b"[-01]",
    b"[1.]",
    "١".encode(),
    "[１]".encode(),
    # literals
    b"tru",
    b"True",
    b"TRUE",
    b"nul",
    b"nulll",
    b"[truE]",
    b"undefined",
    b"a",
    b"truefalse",
    b"true false",
    # strings
    b'"',
    b'"abc',
    b'"\\"',
    b"'a'",
    b'"a\tb"',
    b'"a\nb"',
    b'"\x00"',
    b'"\x1f"',
    b'{"\t":1}',
    rb'"\x"',
    rb'"\a"',
    rb'"\'"',
    rb'"\0"',
    rb'"\U0041"',
    rb'"\u"',
    rb'"\u12"',
    rb'"\u12G4"',
    rb'"\u 123"',
    b'"\\\n"',
    b'"\\',
    '"\\é"'.encode(),
    b'""""',
    b'"a" "b"',
    b"\\u0041",
    b"\\",
    b"\\\\",
    b"[\\\\]",
    # bytes that are not UTF-8
    b"\xff",
    b'"\xff"',
    b'{"\xff":1}',
    b'"\xe9"',
    b'"\xc3"',
    b'"\xc0\xaf"',
    b'"\xe0\x80\xaf"',
    b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"',
    b'"\x80"',
    # structure
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"[1,]",
    b"[,1]",
    b"[,]",
    b"[1,,2]",
    b"[1 2]",
    b"[1}",
    b"[1",
    b"1]",
    b"1,",
    b"1,2",
    b"[][]",
    b"[]]",
    b"[]{}",
    b"{}}",
    b'{"a"}',
    b'{"a":}',
    b'{"a"',
    b'{"a":',
    b'{"a":1',
    b'{"a":1,}',
    b'{,"a":1}',
    b'{"a":1,,"b":2}',
    b'{"a":1 "b":2}',
    b'{"a" 1}',
    b'{"a",1}',
    b'{"a"::1}',
    b'{"a":1:2}',
    b"{a:1}",
    b"{1:1}",
    b"{null:1}",
    b"{[]:1}",
    b'{"a":1]',
    b'["a":1]',
    b'{"a":1,2}',
    b'"a":1',
    b"//x\n1",
    b"[1]/*x*/",
    b"#1",
    b"{}x",
    b"<null>",
    # a lone surrogate excuses nothing else
    rb'"\ud800',
    rb'"\ud80"',
    rb'"\ud8',
    rb'"\ud8GG"',
    rb"\ud800",
    rb'["\ud800"',
    rb'["\ud800",]',
    rb'["\ud800",01]',
    rb'["\ud800",\\]',
    rb'["\ud800",@@]',
    rb'["\ud800","\x"]',
    rb'{"\ud800"}',
    rb'"\ud800" 1',
    b'["\\ud800","\t"]',
    b'["\\ud800",\x01]',
    b'["\\ud800","\xff"]',
]

# What is put at the bottom of a deep value: wrong there as anywhere else.
INVALID_WHEN_DEEP = [one for one in INVALID if one.strip() and one not in (b"]", b"}", b",", b"1,2", b"[]]", b"1,")]
BROKEN_DEEP = [
    b"[" * DEEP,
    b"]" * DEEP,
    b"[" * DEEP + b"]" * (DEEP - 1),
    b"[" * DEEP + b"]" * (DEEP + 1),
    b"[" * DEEP + b"}" * DEEP,
    b"[" * DEEP + b"1" + b"]" * 100 + b":" + b"]" * (DEEP - 100),
    b"[" * DEEP + b"1" + b"]" * 100 + b'"":' + b"]" * (DEEP - 100),
    b"[" * DEEP + b"1" + b"]" * 100 + b"{" + b"]" * (DEEP - 100),
    b'[{"":' * DEEP + b"1" + b"]}" * DEEP,
    b'{"":' * DEEP + b"}" * DEEP,
    b'{"":' * DEEP + b"1" + b"}" * (DEEP - 1),
    b"{" * DEEP + b"}" * DEEP,
    b'{"":[' * DEEP + b"1,2" + b"]}" * (DEEP - 1) + b"],1}",
    b'{"":[' * DEEP + b"1,2" + b"]}" * (DEEP - 1) + b',"":1]}',
    b"[" * DEEP + b"]" * DEEP + b",",
    b"[" * DEEP + b"]" * DEEP + b"1",
    b"[" * DEEP + b"]" * DEEP + b"[]",
    b"," + b"[" * DEEP + b"]" * DEEP,
    b"[" * DEEP + b"]" * DEEP + b"," + b"[" * DEEP + b"]" * DEEP,
    b"[" * DEEP + b'"' + b"x" * 70_000 + b'\t"' + b"]" * DEEP,
    b"[" * DEEP + b'"' + b"x" * 70_000 + b"]" * DEEP,
]


@pytest.mark.parametrize("text", VALID, ids=lambda text: repr(text[:40]))
def test_a_valid_text_is_accepted(text: bytes) -> None:
    assert find_json_error(text) is None


@pytest.mark.parametrize("text", INVALID, ids=lambda text: repr(text[:40]))
def test_an_invalid_text_is_refused_with_a_reason(text: bytes) -> None:
    reason = find_json_error(text)
    assert reason
    assert len(reason) < 80


@pytest.mark.parametrize("text", VALID, ids=lambda text: repr(text[:40]))
def test_a_valid_text_is_accepted_at_any_depth(text: bytes) -> None:
    assert find_json_error(b"[" * DEEP + text + b"]" * DEEP) is None
    assert find_json_error(b'{"a":' * DEEP + text + b"}" * DEEP) is None


@pytest.mark.parametrize("text", INVALID_WHEN_DEEP, ids=lambda text: repr(text[:40]))
def test_an_invalid_text_is_refused_at_any_depth(text: bytes) -> None:
    assert find_json_error(b"[" * DEEP + text + b"]" * DEEP)
    assert find_json_error(b'{"a":' * DEEP + text + b"}" * DEEP)


@pytest.mark.parametrize("text", BROKEN_DEEP, ids=range(len(BROKEN_DEEP)))
def test_a_deep_text_whose_structure_is_broken_is_refused(text: bytes) -> None:
    assert find_json_error(text)


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537])
def test_a_string_may_end_wherever_a_chunk_of_a_deep_text_does(length: int) -> None:
    opening = b"[" * DEEP + b'"'
    text = opening + b"x" * (length - len(opening)) + b'","",""' + b"]" * DEEP
    assert find_json_error(text) is None
    assert find_json_error(text.replace(b'","",""', b'","","'))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{a:1}", "unexpected character at byte 1"),
        (b"@", "unexpected character at byte 0"),
        (b' {"a": 1,\n }', "unexpected character at byte 11"),
        (b"[1}", "unexpected character at byte 2"),
        (b"[01]", "unexpected character at byte 2"),
        (b"[1.]", "unexpected character at byte 2"),
        (b"truefalse", "unexpected character at byte 4"),
        (b'{"a" 1}', "unexpected character at byte 5"),
        (b'["a":1]', "unexpected character at byte 4"),
        (b"[1]]", "unexpected character at byte 3"),
        (b'{"a":', "unexpected end of input"),
        (b'{"a": "b', "unexpected end of input"),
        (b"[1, 2", "unexpected end of input"),
        (b" ", "unexpected end of input"),
        (b'["a\tb"]', "control character in a string at byte 3"),
        (b"[" * 2_000 + b"}", "unexpected character at byte 2000"),
        (b"[" * 50_000 + b"1}", "brackets do not match"),
        (b'["' + b"x" * 9_000 + b'",]', "invalid or unfinished after byte 4088"),
        (b'["x",]' + b" " * 9_000, "unexpected character at byte 5"),
        (b'"ab\xff"', "invalid UTF-8 at byte 3"),
        (rb'["\ud800", "\x"]', "invalid escape at byte 12"),
    ],
)
def test_the_reason_says_what_is_wrong_and_where(text: bytes, reason: str) -> None:
    """The words are ours, whichever parser found that there is an error."""
    assert find_json_error(text) == reason


@pytest.mark.parametrize("end", [b"tru", b'"ab', b"1.", b"-", b"1e+", rb'"\u12', b'"\\', "é".encode()[:1], b""])
def test_where_a_long_text_is_cut_for_the_scan_nothing_looks_wrong(end: bytes) -> None:
    """What is wrong stands beyond the cut, and is not said to stand before it."""
    for pad in range(-len(end), 1):
        text = b"[" + b" " * (4_095 + pad - len(end)) + end
        reason = find_json_error(text + b" " * 9_000 + b"}")
        assert reason is not None
        assert reason.startswith(("invalid or unfinished after", "invalid UTF-8")) or int(reason.split()[-1]) < 4_096


any_text = st.text(st.characters(codec=None))  # surrogates included, as JavaScript writes them
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda children: st.lists(children) | st.dictionaries(any_text, children),
    max_leaves=20,
)


@given(value=json_values, indent=st.none() | st.integers(0, 2))
def test_whatever_the_standard_library_writes_is_accepted(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent).encode()
    assert find_json_error(text) is None
    assert find_json_error(b"[" * DEEP + text + b"]" * DEEP) is None


def standard_library_accepts(body: bytes) -> bool:
    """json.loads without its lenience: no NaN or Infinity, and bytes are UTF-8 without a byte order mark."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        # Integers are left as text: int() refuses more than 4,300 digits.
        json.loads(body.decode(), strict=True, parse_constant=refuse, parse_int=str, parse_float=str)
    except ValueError:
        return False
    return True


FRAGMENTS = [
    *(bytes([byte]) for byte in b'[]{},:"\\ \t\n0123456789.eE+-u/@\x00\x01\x02\x7f\x80\xc3\xff'),
    *(
        b"true",
        b"false",
        b"null",
        b"NaN",
        b"[]",
        b"{}",
        b'""',
        b'"":',
        rb"\ud800",
        rb"\udc00",
        rb"\u00e9",
        b",1",
    ),
]


@given(value=json_values, seed=st.integers(0, 2**32), edits=st.integers(1, 4))
@settings(max_examples=300)
def test_a_damaged_text_is_judged_as_the_standard_library_judges_it(value: object, seed: int, edits: int) -> None:
    dice = random.Random(seed)
    text = json.dumps(value).encode()
    for _ in range(edits):
        at = dice.randrange(len(text) + 1)
        text = text[:at] + dice.choice([b"", dice.choice(FRAGMENTS)]) + text[at + dice.choice([0, 1]) :]
    is_valid = standard_library_accepts(text)
    assert (find_json_error(text) is None) == is_valid
    assert (find_json_error(b'["\\ud800",' + text + b"]") is None) == standard_library_accepts(b'["",' + text + b"]")


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(b"".join))
@settings(max_examples=500)
def test_fragments_in_any_order_are_judged_as_the_standard_library_judges_them(text: bytes) -> None:
    assert (find_json_error(text) is None) == standard_library_accepts(text)
    framed = b'["' + text + b'",' + text + b"]"
    assert (find_json_error(b'["\\ud800",' + framed + b"]") is None) == standard_library_accepts(framed)


@given(st.lists(st.sampled_from([b"[", b"]", b'{"":', b"}", b",", b',"":', b"1", b"[]"]), max_size=30))
@settings(max_examples=300)
@example([b"]", b",", b"["])
def test_brackets_and_commas_in_any_order_are_judged_alike_deep_and_shallow(tokens: list[bytes]) -> None:
    text = b"[" + b"".join(tokens) + b"]"
    assert (find_json_error(text) is None) == standard_library_accepts(text)
    shallow = b'{"":[' + text + b"]}"  # `[],[]` is no JSON by itself, but may stand in an array
    assert (find_json_error(b'{"":[' * 700 + text + b"]}" * 700) is None) == standard_library_accepts(shallow)


@pytest.mark.parametrize("text", INVALID, ids=lambda text: repr(text[:40]))
def test_the_scan_judges_by_itself_as_the_parser_does(text: bytes) -> None:
    found = scan(text)
    assert found is not None
    assert 0 <= found.at <= len(text)


@pytest.mark.parametrize("text", VALID, ids=lambda text: repr(text[:40]))
def test_the_scan_accepts_what_is_valid(text: bytes) -> None:
    assert scan(text) is None


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join))
@settings(max_examples=500)
def test_the_scan_judges_fragments_as_the_standard_library_does(text: bytes) -> None:
    assert (scan(text) is None) == standard_library_accepts(text)


class _OtherWords:
    """A parser whose words nobody has seen."""

    def decode(self, body: bytes) -> object:
        try:
            return json_text.msgspec.json.decode(body, type=json_text.msgspec.Raw)
        except json_text.msgspec.DecodeError:
            raise json_text.msgspec.DecodeError("no") from None


@pytest.mark.parametrize("text", INVALID, ids=lambda text: repr(text[:40]))
def test_the_reason_does_not_depend_on_the_words_of_the_parser(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = find_json_error(text), find_json_error(text + b" " * 9_000)
    monkeypatch.setattr(json_text, "_RAW", _OtherWords())
    assert (find_json_error(text), find_json_error(text + b" " * 9_000)) == reasons


@given(st.binary(max_size=200) | st.text(string.printable).map(str.encode))
def test_any_bytes_get_none_or_a_reason_and_never_an_exception(body: bytes) -> None:
    for text in (body, b"[" * DEEP + body, b'"\\ud800' + body):
        reason = find_json_error(text)
        assert reason is None or (isinstance(reason, str) and reason)
