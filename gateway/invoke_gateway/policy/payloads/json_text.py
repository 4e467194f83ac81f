"""Checks that a request body is one valid JSON text (RFC 8259, in UTF-8), without building its objects.

msgspec reads a text to the end to hand back a `Raw` view of it, which is the cheapest complete check there is
in a wheel: numbers, literals, escapes, control characters and trailing bytes are all checked. It leaves
three gaps, closed here in the order in which a body meets them:

1. Bytes inside strings are not checked as UTF-8. A body of ASCII (the usual one) needs no more than
   `bytes.isascii`; any other is decoded.
2. An escaped surrogate without its other half, `"\\ud800"`, is refused. RFC 8259 (section 8.2) allows it,
   `JSON.stringify` writes it, and Lambda takes it.
3. A value nested deeper than Python's recursion limit cannot be read at all.

A body that may be one of the last two is checked by rewriting it instead of descending into it: see
`_find_error_by_rewriting`. A short body is scanned instead (`json_scan`), which also finds the place of an error.
msgspec's own error texts are never read: they change from release to release.
"""

import re

import msgspec

from .json_scan import scan

_RAW = msgspec.json.Decoder(msgspec.Raw)
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
# Bytes that are scanned for the place of an error: 4 KiB of brackets take 3 ms, what is usual takes a tenth of that.
_MOST_SCANNED = 4_096
_LONGEST_CUT = 8  # bytes of a token which the cut after the bytes above could make look wrong


def is_plain_json(body: bytes | bytearray) -> bool:
    """Returns True if `body` is one valid JSON text, in the time of its bytes. False: `find_json_error` decides."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            return False
    try:
        _RAW.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def find_json_error(body: bytes) -> str | None:
    """Returns None when `body` is one valid JSON text, else the reason in a few words, with the offset where the body
    is short.

    Lenient where RFC 8259 is: any number however large, any key however often, lone surrogate escapes, any depth. An
    empty body is not a JSON text; whether it is a valid payload is for the caller to say.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            return f"invalid UTF-8 at byte {error.start}"
    try:
        _RAW.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        if len(body) <= _MOST_SCANNED:
            found = scan(body)
            return None if found is None else str(found)
        if isinstance(error, RecursionError) or _SURROGATE_ESCAPE.search(body):
            return _find_error_by_rewriting(body)
        return _explain_beginning(body)
    return None


def _explain_beginning(body: bytes) -> str:
    """Returns the error of a long body, with its place where that is near the beginning."""
    found = scan(body[:_MOST_SCANNED])
    if found is not None and found.at < _MOST_SCANNED - _LONGEST_CUT:
        return str(found)
    return f"invalid or unfinished after byte {_MOST_SCANNED - _LONGEST_CUT}"


# ---- checking by rewriting -------------------------------------------------------------------------------
#
# Each step below is a pass of C code over the whole text and none backtracks, so that a hostile body costs
# time in proportion to its size, whatever it is made of. Control characters other than white space are valid
# nowhere in a JSON text; once a text is known to hold none, they are free to stand for tokens.

# "@" is valid nowhere outside a string, so it can stand in for an escape without making a bad text good.
_TWO_HARMLESS = b"@@"
_SCALAR, _STRING, _KEY, _OPEN_WITH_KEY, _COMMA_WITH_KEY = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"
_WHITE_SPACE = b" \t\n\r"
_FORBIDDEN = bytes(set(range(0x20)) - set(_WHITE_SPACE))
_WRONG_ESCAPE = re.compile(rb'\\(?!["/bfnrt]|u[0-9a-fA-F]{4})')

# Bytes of text split at once: bounds the memory of the pieces, which are many times larger than the text.
_CHUNK = 65_536

_PUNCTUATION = b"[]{}:,"
_ALL = bytes(range(256))
_BETWEEN_SCALARS = _PUNCTUATION + _WHITE_SPACE + _STRING
_SEPARATORS_TO_COMMAS = bytes.maketrans(_BETWEEN_SCALARS, b"," * len(_BETWEEN_SCALARS))
_IN_SCALARS = _ALL.translate(None, _BETWEEN_SCALARS)
_SCALARS_TO_TOKENS = bytes.maketrans(_IN_SCALARS, _SCALAR * len(_IN_SCALARS))


def _mark(tokens: bytes) -> bytes:
    return bytes(byte in tokens for byte in range(256))


_STARTS_A_VALUE = _mark(_SCALAR + b"[" + _OPEN_WITH_KEY)
_IS_FOLLOWED_BY_A_VALUE = _mark(b"[," + _OPEN_WITH_KEY + _COMMA_WITH_KEY)
_TOKENS = _SCALAR + b"[]}," + _OPEN_WITH_KEY + _COMMA_WITH_KEY

_CLOSING_OF = bytes.maketrans(b"[{", b"]}")
_PEAK = re.compile(rb"([\[{]*+)([\]}]++)")
# A pass of pair removal that takes less than this share of the text is no longer worth its cost.
_WORTHWHILE = 0.1


def _find_error_by_rewriting(body: bytes) -> str | None:
    """As `find_json_error`, for a body in valid UTF-8 of any depth, in time that grows with its length alone.

    Strings become tokens, then scalars, so that every rule of the grammar but the nesting becomes a rule
    about neighbours. A comma is then written as "close, open" of the kind of container it must stand in, and
    what is left to check is that brackets match.
    """
    if len(body.translate(None, _FORBIDDEN)) != len(body):
        return "invalid control character"
    # Pairs of backslashes go first, from the left: what then follows a backslash is what it escapes.
    paired = body.replace(rb"\\", _TWO_HARMLESS)
    if wrong := _WRONG_ESCAPE.search(paired):
        return f"invalid escape at byte {wrong.start()}"
    unquoted = _replace_strings(paired.replace(rb"\"", _TWO_HARMLESS))
    if unquoted is None:
        return "invalid or unfinished string"
    if not _are_scalars_valid(unquoted):
        return "invalid literal or number"
    text = _collapse(unquoted.translate(_SCALARS_TO_TOKENS), _SCALAR).translate(None, _WHITE_SPACE)
    text = text.replace(_STRING + b":", _KEY).replace(_STRING, _SCALAR)
    text = text.replace(b"{}", _SCALAR).replace(b"[]", _SCALAR)
    text = text.replace(b"{" + _KEY, _OPEN_WITH_KEY).replace(b"," + _KEY, _COMMA_WITH_KEY)
    if text.translate(None, _TOKENS) or not _are_neighbours_valid(text):
        return "unexpected character"
    text = text.translate(None, _SCALAR).replace(b",", b"][")
    text = text.replace(_OPEN_WITH_KEY, b"{").replace(_COMMA_WITH_KEY, b"}{")
    return None if _are_brackets_matched(text) else "brackets do not match"


def _replace_strings(text: bytes) -> bytes | None:
    """Returns the text with a token for each string; None if a string does not end or holds a control character. No
    escaped quote is left in `text`, so quotes begin and end strings in turn."""
    outside: list[bytes] = []
    is_inside = False  # a string that began in an earlier chunk
    for start in range(0, len(text), _CHUNK):
        pieces = text[start : start + _CHUNK].split(b'"')
        inside = b"".join(pieces[not is_inside :: 2])
        if len(inside.translate(None, _WHITE_SPACE)) + inside.count(b" ") != len(inside):
            return None
        if is_inside and len(pieces) > 1:
            outside.append(_STRING)
        outside.append(_STRING.join(pieces[is_inside::2]))
        is_inside ^= len(pieces) % 2 == 0
    return None if is_inside else b"".join(outside)


def _are_scalars_valid(unquoted: bytes) -> bool:
    """Returns whether everything between punctuation, strings and white space is a number or a literal."""
    scalars = _collapse(unquoted.translate(_SEPARATORS_TO_COMMAS), b",").strip(b",")
    try:
        _RAW.decode(b"[" + scalars + b"]")
    except msgspec.DecodeError:
        return False
    return True


def _are_neighbours_valid(text: bytes) -> bool:
    """Returns whether a value stands wherever one must and nowhere else."""
    is_due = (b"," + text).translate(_IS_FOLLOWED_BY_A_VALUE)
    is_there = (text + b",").translate(_STARTS_A_VALUE)
    return is_due == is_there


def _collapse(text: bytes, token: bytes) -> bytes:
    """Returns the text with each run of `token` shortened to one."""
    for length in (4, 2):
        while token * length in text:
            text = text.replace(token * length, token)
    return text


def _are_brackets_matched(brackets: bytes) -> bool:
    """Returns whether a text of only `[]{}` is balanced, each bracket closed by its own kind. Neighbouring pairs are
    removed while that shrinks the text quickly, which leaves few changes of direction. Then runs of opening and of
    closing brackets are pushed and popped whole."""
    while True:
        shorter = brackets.replace(b"[]", b"").replace(b"{}", b"")
        removed = len(brackets) - len(shorter)
        brackets = shorter
        if removed <= len(shorter) * _WORTHWHILE:
            break
    expected = bytearray()  # the closing brackets that are due, the next one last
    end = 0
    for peak in _PEAK.finditer(brackets):
        opening, closing = peak.groups()
        expected += opening.translate(_CLOSING_OF)
        due = expected[-len(closing) :]
        due.reverse()
        if due != closing:
            return False
        del expected[-len(closing) :]
        end = peak.end()
    return not expected and end == len(brackets)
