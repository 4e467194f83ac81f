"""Tests the picture of one limit."""

from __future__ import annotations

from invoke_gateway.chaos.report.overlap import highest_in_columns


def test_a_peak_of_any_length_stays_in_the_picture() -> None:
    series = [(1.0, 3), (5.0, 9), (5.000001, 3), (9.0, 0)]
    assert highest_in_columns(series, 10.0, 10) == [0, 3, 3, 3, 3, 9, 3, 3, 3, 3]
    assert highest_in_columns([], 10.0, 3) == [0, 0, 0]
