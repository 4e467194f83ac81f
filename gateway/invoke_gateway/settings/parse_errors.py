"""Explains why a text cannot be read as settings."""

import re

from invoke_gateway.settings.paths import join_key
from invoke_gateway.settings.problems import Problem

DEEPEST = 32  # levels of nesting; the settings have six
LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
NOT_IN_YAML = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # YAML 1.1, 5.1


class NotReadable(Exception):
    """Reports a text that cannot be read as a settings file."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.problem = Problem(key="", source="", message=message, cure=cure)


def explain_characters(data: bytes) -> NotReadable:
    """Returns the problem of a text that cannot be read because of its characters."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return NotReadable(f"is not UTF-8 text: byte {error.start + 1}", "save it as UTF-8")
    found = NOT_IN_YAML.search(text)
    if found is None:
        return NotReadable("is no YAML text", "save it as plain UTF-8 text")
    lines = LINE_BREAK.split(text[: found.start()])
    place = f"line {len(lines)}, column {len(lines[-1]) + 1}"
    return NotReadable(f"is no YAML text: it holds the character U+{ord(found[0]):04X} ({place})", "remove it")


def given_twice(path: tuple[object, ...], lines: str = "") -> Problem:
    return Problem(join_key(path), "", f"is given twice{lines}", "keep one of the two")


def too_deep() -> NotReadable:
    return NotReadable(
        f"is nested deeper than {DEEPEST} levels",
        "write it with fewer levels: settings have six at most, fault scripts three",
    )
