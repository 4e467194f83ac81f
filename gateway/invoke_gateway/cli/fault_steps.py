"""Reads and writes steps of fault scripts as words, such as `error ServiceException repeat 2`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

# Of each word: its key in a step, the type of its value, and the value in words.
_WORDS: dict[str, tuple[str, type, str]] = {
    "pass": ("pass", int, "a number of calls"),
    "throttle": ("repeat", int, "a number of calls"),
    "error": ("error", str, "the name of an exception"),
    "latency": ("latency_seconds", float, "a number of seconds"),
    "cut": ("cut_after_bytes", int, "a number of bytes"),
    "repeat": ("repeat", int, "a number of calls"),
    "probability": ("probability", float, "a number up to 1"),
}

THROTTLE = "TooManyRequestsException"


class BadStep(Exception):
    """Reports words that are no step; the text names the mistake."""


def parse_step(text: str) -> dict[str, Any]:
    """Returns the step that words describe; the gateway checks its values. Raises `BadStep`."""
    step: dict[str, Any] = {}
    words = text.split()
    while words:
        word = words.pop(0)
        if word not in _WORDS:
            raise BadStep(f"{text!r}: {word!r} is none of {', '.join(_WORDS)}{_suggest(word)}")
        key, kind, what = _WORDS[word]
        if key in step or (word == "throttle" and "error" in step):
            raise BadStep(f"{text!r} has {word} twice" if key in step else f"{text!r} has two errors")
        if word == "throttle":
            step["error"] = THROTTLE
            if not words or words[0] in _WORDS:  # of one call
                continue
        try:
            step[key] = kind(words.pop(0))
        except (IndexError, ValueError):
            raise BadStep(f"{text!r}: {word} needs {what} behind it") from None
        if word == "error" and words and words[0] not in _WORDS:
            step["reason"] = words.pop(0)
    if not step:
        raise BadStep("a step must not be empty")
    return step


def _suggest(word: str) -> str:
    """Returns a question for what an unknown word may mean; empty where no word is close."""
    if close := get_close_matches(word.lower(), _WORDS, n=1, cutoff=0.7):
        return f"; did you mean {close[0]}?"
    return f"; did you mean error {word}?" if word.endswith("Exception") else ""


def describe_step(step: dict[str, Any]) -> str:
    """Returns a step as words."""
    parts: list[str] = []
    if step.get("error") == THROTTLE and "reason" not in step:
        step = dict(step)
        calls = step.pop("repeat", None)
        parts.append("throttle" if calls is None else f"throttle {calls}")
        del step["error"]
    for word, (key, _, _) in _WORDS.items():
        if word == "throttle":
            continue
        if key in step:
            value = step[key]
            parts.append(f"{word} {int(value) if isinstance(value, float) and value.is_integer() else value}")
            if word == "error" and "reason" in step:
                parts.append(step["reason"])
    return " ".join(parts)
