"""Lists what a backend could take a path for, when the path is not in its canonical form.

Servers and routers disagree about such paths. Each rule below is some server's own. A path that any of them routes
to an invocation must be counted, or it is a way around every limit:

- Letter case is ignored (Express, ASP.NET), also by Unicode's rules, where `ſ` is an s and `K` a k.
- Matrix parameters are dropped: `functions;x=1` is `functions` (Jakarta REST, Spring, Tomcat).
- Escapes are decoded before or after the path is split, once or more often (MiniStack decodes twice), as `%u0069` too
  (IIS), and with more bytes than UTF-8 allows.
- A backslash is a slash, and `//host/path` names a host (the URL standard, so every server that uses `new URL`).
- Empty segments are dropped or kept, dot segments resolved or kept, before or after each other.
- What follows the operation is ignored: another segment (MiniStack), a suffix such as `.json` (Rails, older Spring),
  all behind a NUL.
- A prefix is dropped.

No server follows all of them, and they lead to different functions. So every selection of them is tried. The caller
refuses a path of which two readings name different things.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from ...invocation import Operation

OPERATIONS = {
    "invocations": Operation.INVOKE,
    "invoke-async": Operation.INVOKE_ASYNC,
    "response-streaming-invocations": Operation.INVOKE_WITH_RESPONSE_STREAM,
}
LONGEST_PATH = 4096
MOST_SEGMENTS = 32
"""Bounds a path in another than its canonical form. A name of 256 characters, each escaped twice, is far below."""

_MOST_DECODINGS = 5
_IIS_ESCAPE = re.compile(rb"%u([0-9a-fA-F]{4})")
_OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0\x80[\x80-\x9f][\x80-\xbf]")
_CONTROLS = re.compile("[\x00-\x1f\x7f\u00ad\u200b-\u200d\u2060\ufeff]")
_FIRST_WORD = re.compile(r"[^\w-]*([\w-]+)")

Reading = tuple[Operation, str]
_Path = tuple[str, ...]


def may_be_invocation(raw_path: bytes) -> bool:
    """Returns whether a path contains the words of an invocation's path, in any spelling."""
    text = _fold(_CONTROLS.sub("", _decode_fully(raw_path)))
    return "functions" in text and any(word in text for word in OPERATIONS)


def is_too_long(raw_path: bytes) -> bool:
    """Returns whether reading the path in all ways would delay other requests."""
    return len(raw_path) > LONGEST_PATH or len(re.split(r"[/\\]", _decode_fully(raw_path))) > MOST_SEGMENTS


def list_readings(raw_path: bytes) -> list[Reading]:
    """Returns the operations and names that some backend finds in the path; a literal reading comes first."""
    changes = (_drop_empty, _drop_parameters, _drop_empty, _resolve_literal_dots, _resolve_dots, _drop_empty)
    undecoded = _change(_split(_as_text(raw_path)), changes)
    decoded = _change([*_split(_as_text(unquote_to_bytes(raw_path))), *_split(_decode_fully(raw_path))], changes)
    paths = dict.fromkeys([*map(_decode_once, undecoded), *decoded])
    return list(dict.fromkeys((operation, _show(name)) for path in paths for operation, name in _find(path)))


def find_long_name(raw_path: bytes) -> Reading | None:
    """Returns the last operation in the path, and as a name all segments before it, which are several."""
    segments = [part for part in _decode_fully(raw_path).split("/") if part]
    if len(segments) < 4 or _word(segments[1]) != "functions":
        return None
    last = max((place for place in range(3, len(segments)) if _word(segments[place]) in OPERATIONS), default=None)
    return (OPERATIONS[_word(segments[last])], _show("/".join(segments[2:last]))) if last else None


def _change(paths: list[_Path], changes: Iterable[Callable[[_Path], _Path]]) -> list[_Path]:
    """Returns the paths after every selection of the changes, in their order."""
    for change in changes:
        paths = list(dict.fromkeys([*paths, *map(change, paths)]))
    return paths


def _find(path: _Path) -> Iterable[Reading]:
    """Finds every `functions`, name and operation in a row. A name may have slashes if an operation follows it."""
    words = [_word(segment) for segment in path]
    for place in range(len(path) - 2):
        operation = OPERATIONS.get(words[place + 2])
        if words[place] == "functions" and operation is not None:
            yield operation, path[place + 1]
            for later in range(place + 3, len(path)):
                if words[later] in OPERATIONS:
                    yield OPERATIONS[words[later]], "/".join(path[place + 1 : later])


@lru_cache(1024)
def _word(segment: str) -> str:
    """Returns the word that a router could read in a segment."""
    text = _decode_fully(segment.encode("utf-8", "surrogateescape"))
    for each in (text, _CONTROLS.sub("", text.partition("\0")[0])):
        found = _FIRST_WORD.match(_fold(each))
        if found is not None and (found[1] in OPERATIONS or found[1] == "functions"):
            return found[1]
    return ""


def _split(text: str) -> list[_Path]:
    return [tuple(text.split("/")[1:]), tuple(re.split(r"[/\\]", text)[1:])]


def _drop_empty(path: _Path) -> _Path:
    return tuple(filter(None, path))


def _drop_parameters(path: _Path) -> _Path:
    return tuple(segment.partition(";")[0] for segment in path)


def _resolve_literal_dots(path: _Path) -> _Path:
    return _resolve(path, path)


def _resolve_dots(path: _Path) -> _Path:
    return _resolve(path, tuple(segment.replace("%2e", ".").replace("%2E", ".") for segment in path))


def _decode_once(path: _Path) -> _Path:
    return tuple(_as_text(unquote_to_bytes(segment.encode("utf-8", "surrogateescape"))) for segment in path)


def _resolve(path: _Path, shown: _Path) -> _Path:
    """Returns the path without its dot segments, which are those that `shown` has in their place."""
    resolved: list[str] = []
    for segment, seen in zip(path, shown, strict=True):
        if seen == "..":
            if resolved:
                resolved.pop()
        elif seen != ".":
            resolved.append(segment)
    return tuple(resolved)


def _decode_fully(raw: bytes) -> str:
    """As a backend reads it that decodes as often as there is something to decode."""
    for _ in range(_MOST_DECODINGS):
        if b"%" not in raw:
            break
        raw = unquote_to_bytes(_IIS_ESCAPE.sub(lambda found: chr(int(found[1], 16)).encode("utf-8", "replace"), raw))
    if raw.isascii():
        return raw.decode("ascii")
    return unicodedata.normalize("NFKC", _as_text(_OVERLONG.sub(_shorten, raw)))


def _shorten(found: re.Match[bytes]) -> bytes:
    value = 0
    for byte in found[0]:
        value = value << 6 | (byte & 0x3F)
    return bytes((value & 0x7F,))


def _as_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _show(name: str) -> str:
    """Returns the name with a replacement character for each byte that is no UTF-8."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _fold(text: str) -> str:
    """Returns the text without letter case and accents. `İ` and `ı` are an i where case is folded as in Turkish."""
    if text.isascii():
        return text.lower()
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return bare.casefold().replace("ı", "i")
