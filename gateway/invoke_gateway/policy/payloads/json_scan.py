"""Finds the first error of a JSON text (RFC 8259, in UTF-8), token by token: what is wrong, and at which byte.

Slower than `json_text`, which only decides whether there is one. A text may be nested to any depth: the open brackets
are a list. The words are this project's own, so that they stay the same with every version of every library.
"""

import re
from typing import NamedTuple

_SPACE = rb"[ \t\n\r]*+"
_PLAIN = rb'[^"\\\x00-\x1f]*+'
_ESCAPE = rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
_STRING = rb'"%b(?:%b%b)*"' % (_PLAIN, _ESCAPE, _PLAIN)
_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_TOKEN = re.compile(rb"%b(?:(%b)|(%b|true|false|null)|([\[\]{},:]))" % (_SPACE, _STRING, _NUMBER))
_LEADING_SPACE = re.compile(_SPACE)
_GOOD_PART = re.compile(rb'"%b(?:%b%b)*' % (_PLAIN, _ESCAPE, _PLAIN))
_IS_STRING, _IS_SCALAR = 1, 2  # groups of a token; the third is punctuation

# What may come next.
_VALUE, _VALUE_OR_END, _KEY, _KEY_OR_END, _COLON, _COMMA_OR_END = range(6)
INVALID_UTF_8 = "invalid UTF-8"
_TOO_SHORT = "unexpected end of input"
_CLOSING_OF = {b"[": b"]", b"{": b"}"}


class JsonError(NamedTuple):
    """Locates an error; `at` is the offset of the wrong byte, or the length of a text that ends too early."""

    words: str
    at: int

    def __str__(self) -> str:
        return self.words if self.words == _TOO_SHORT else f"{self.words} at byte {self.at}"


def scan(text: bytes) -> JsonError | None:
    """Returns the first error, or None where `text` is one valid JSON text."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return JsonError(INVALID_UTF_8, error.start)
    due, closing, at = _VALUE, list[bytes](), 0
    while (token := _TOKEN.match(text, at)) is not None:
        following = _follow(due, closing, token)
        if following is None:
            return JsonError("unexpected character", token.start(token.lastindex or 0))
        due, at = following, token.end()
    at = _LEADING_SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty text too
    if at < len(text):
        return _explain(text, at, is_value=due in (_VALUE, _VALUE_OR_END, _KEY, _KEY_OR_END))
    is_complete = due == _COMMA_OR_END and not closing
    return None if is_complete else JsonError(_TOO_SHORT, at)


def _follow(due: int, closing: list[bytes], token: re.Match[bytes]) -> int | None:
    """Returns what may follow a token; None where the token may not stand here. `closing`: the brackets due."""
    is_value_due = due in (_VALUE, _VALUE_OR_END)
    after_value = _COMMA_OR_END
    if token.lastindex == _IS_STRING:
        if is_value_due:
            return after_value
        return _COLON if due in (_KEY, _KEY_OR_END) else None
    if token.lastindex == _IS_SCALAR:
        return after_value if is_value_due else None
    mark = token[3]
    if mark in _CLOSING_OF:
        if not is_value_due:
            return None
        closing.append(_CLOSING_OF[mark])
        return _VALUE_OR_END if mark == b"[" else _KEY_OR_END
    if mark == b":":
        return _VALUE if due == _COLON else None
    if not closing:
        return None
    if mark == b",":
        return (_VALUE if closing[-1] == b"]" else _KEY) if due == _COMMA_OR_END else None
    if due not in (_COMMA_OR_END, _VALUE_OR_END, _KEY_OR_END) or closing.pop() != mark:
        return None
    return after_value


def _explain(text: bytes, at: int, *, is_value: bool) -> JsonError:
    """Returns the error at `at`, where no token begins. `is_value`: a string could stand there."""
    good = _GOOD_PART.match(text, at) if is_value else None
    if good is None:
        return JsonError("unexpected character", at)
    if good.end() == len(text):
        return JsonError(_TOO_SHORT, len(text))
    is_escape = text[good.end()] == ord("\\")
    return JsonError("invalid escape" if is_escape else "control character in a string", good.end())
