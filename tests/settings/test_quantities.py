"""The number that a text with a unit means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.settings.quantities import Unit, compute


@pytest.mark.parametrize(
    ("text", "value", "note"),
    [
        ("6MB", 6_000_000, "6MiB: 6291456"),
        ("6 mb", 6_000_000, "6MiB: 6291456"),
        ("6M", 6_000_000, "6MiB: 6291456"),
        ("6MiB", 6_291_456, ""),
        ("6Mi", 6_291_456, ""),
        ("1.5 KiB", 1536, ""),
        ("2GB", 2_000_000_000, "2GiB: 2147483648"),
        ("1TiB", 2**40, ""),
        ("100 bytes", 100, ""),
        ("100b", 100, ""),
        ("1_000", 1000, ""),
        ("1,048,576", 1_048_576, ""),
        ("1e6", 1_000_000, ""),
    ],
)
def test_bytes(text: str, value: int, note: str) -> None:
    assert compute(text, "bytes") == (value, note)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30s", 30),
        ("30 seconds", 30),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1h 30min 5s", 5405),
        ("250ms", 0.25),
        ("500 µs", 0.0005),
        ("2d", 172_800),
        ("1 week", 604_800),
        ("PT15M", 900),
        ("P1DT1S", 86_401),
        ("1:30:00", 5400),
        ("15:00", 900),
        ("30", 30),
        ("1,000", 1000),
    ],
)
def test_seconds(text: str, value: float) -> None:
    assert compute(text, "seconds") == (value, "")


@pytest.mark.parametrize(
    ("text", "value"),
    [("10/s", 10), ("10 rps", 10), ("600/min", 10), ("10 per second", 10), ("36 req/h", 0.01), ("1k", 1000), ("5", 5)],
)
def test_a_rate_per_second(text: str, value: float) -> None:
    assert compute(text, "per second") == (value, "")


@pytest.mark.parametrize(("text", "value"), [("1k", 1000), ("1,000", 1000), ("2 million", 2_000_000), ("1e3", 1000)])
def test_a_count(text: str, value: int) -> None:
    assert compute(text, "") == (value, "")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("", "bytes"),
        ("many", ""),
        ("6 apples", "bytes"),
        ("6iB", "bytes"),
        ("5 parsecs", "seconds"),
        ("1h or so", "seconds"),
        ("10/fortnight", "per second"),
        ("10%", ""),
        ("1,00", ""),
        ("nan", "seconds"),
        ("inf", "bytes"),
        ("1" * 5000, ""),
        ("1e999999999", "bytes"),
    ],
)
def test_what_means_no_number(text: str, unit: Unit) -> None:
    assert compute(text, unit) is None


@given(st.text(max_size=30), st.sampled_from(["", "bytes", "seconds", "per second"]))
def test_whatever_the_text_is_it_means_a_number_or_none(text: str, unit: Unit) -> None:
    quantity = compute(text, unit)
    assert quantity is None or isinstance(quantity.value, int | float)
