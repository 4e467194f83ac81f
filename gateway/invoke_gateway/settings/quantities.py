"""Computes the number that a text with a unit means: bytes, seconds or a rate per second."""

import re
from fractions import Fraction
from typing import Literal, NamedTuple

Unit = Literal["", "bytes", "seconds", "per second"]

LONGEST_TEXT = 200  # characters

_GROUPS = re.compile(r"(?<=\d)[,_' \u00a0](?=\d{3}(?!\d))")
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_AMOUNT = re.compile(rf"({_NUMBER})\s*(.*)", re.DOTALL)
_PARTS = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµμ]+)[\s,]*")
_ISO_8601 = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{2}(?:\.\d+)?)")
_BYTES = re.compile(r"([kmgtp]?)(i?)(?:b|byte|bytes|o)?", re.IGNORECASE)
_RATE = re.compile(r"(?:requests?|reqs?|calls?|invocations?|r|q)?\s*(?:/|per|p)\s*([a-z]+)")
_COUNT_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000, "thousand": 1_000, "million": 1_000_000}
_SECONDS = {
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), Fraction(1, 10**9)),
    **dict.fromkeys(("us", "µs", "μs", "microsecond", "microseconds"), Fraction(1, 10**6)),
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), Fraction(1, 1000)),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), Fraction(1)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), Fraction(60)),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), Fraction(3600)),
    **dict.fromkeys(("d", "day", "days"), Fraction(86_400)),
    **dict.fromkeys(("w", "week", "weeks"), Fraction(604_800)),
}


class Quantity(NamedTuple):
    """Holds the number that a text means.

    note: another reading of the text, for the user
    """

    value: int | float
    note: str = ""


def compute(text: str, unit: Unit) -> Quantity | None:
    """Returns the number that the text means in `unit`, None where it means none."""
    if len(text) > LONGEST_TEXT:
        return None
    text = _GROUPS.sub("", text.strip())
    found = _AMOUNT.fullmatch(text)
    if unit == "seconds" and (seconds := _read_time(text)) is not None:
        return Quantity(_plain(seconds))
    if found is None:
        return None
    number, rest = Fraction(found[1]), found[2].strip()
    if unit == "bytes":
        return _read_bytes(number, rest)
    if unit == "per second" and rest and (period := _RATE.fullmatch(rest.lower())) is not None:
        seconds = _SECONDS.get(period[1])
        return None if seconds is None else Quantity(_plain(number / seconds))
    factor = _COUNT_FACTORS.get(rest.lower())
    return None if factor is None or (unit == "seconds" and rest) else Quantity(_plain(number * factor))


def _read_bytes(number: Fraction, rest: str) -> Quantity | None:
    found = _BYTES.fullmatch(rest)
    if found is None:
        return None
    power = " kmgtp".index(found[1].lower() or " ")
    if found[2]:
        return Quantity(_plain(number * 1024**power)) if power else None
    binary = _plain(number * 1024**power)
    shown = f"{_plain(number)}{'KMGTP'[power - 1]}iB: {binary}" if power else ""
    return Quantity(_plain(number * 1000**power), shown)


def _read_time(text: str) -> Fraction | None:
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        return Fraction(clock[1] or 0) * 3600 + Fraction(clock[2]) * 60 + Fraction(clock[3])
    iso = _ISO_8601.fullmatch(text)
    if iso is not None and any(iso.groups()):
        factors = (86_400, 3600, 60, 1)
        return sum(
            (Fraction(part or 0) * factor for part, factor in zip(iso.groups(), factors, strict=True)), Fraction()
        )
    parts = list(_PARTS.finditer(text.lower()))
    if not parts or "".join(part[0] for part in parts) != text.lower():
        return None
    if any(part[2] not in _SECONDS for part in parts):
        return None
    return sum((Fraction(part[1]) * _SECONDS[part[2]] for part in parts), Fraction())


def _plain(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)
