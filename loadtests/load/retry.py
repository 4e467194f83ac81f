"""Retries as an AWS SDK does: the `standard` retry mode of botocore, which is the default of today's SDKs.

Three attempts. The pause before the next is rand × min(base × 2^i, 20 s). The base is 1 s after a throttle and 0.05 s
after anything else. `x-amz-retry-after` (milliseconds) may make it up to 5 s longer, and never shorter. `Retry-After`
is not read. Source: botocore 1.44, `botocore/retries/standard.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

MOST_ATTEMPTS = 3
THROTTLE_BASE, OTHER_BASE = 1.0, 0.05  # seconds
LONGEST_PAUSE = 20.0  # seconds
LONGEST_WAIT_FOR_SERVER = 5.0  # seconds that a server may ask for beyond the client's own pause

_RETRIED = frozenset({0, 429, 500, 502, 503, 504})


def may_retry(status: int, attempt: int, most_attempts: int = MOST_ATTEMPTS) -> bool:
    """Returns True if an SDK retries after this status (0: no response) to its attempt number `attempt`, from 1."""
    return status in _RETRIED and attempt < most_attempts


def pause_seconds(status: int, attempt: int, headers: Mapping[str, str], dice: float, scale: float = 1.0) -> float:
    """Seconds before the next attempt; `dice` is in 0..1, `scale` shortens the bases for short tests."""
    base = (THROTTLE_BASE if status == 429 else OTHER_BASE) * scale
    computed: float = dice * min(base * 2 ** (attempt - 1), LONGEST_PAUSE)
    return max(computed, min(_asked_for(headers), computed + LONGEST_WAIT_FOR_SERVER))


def attempt_header(attempt: int, most_attempts: int = MOST_ATTEMPTS) -> dict[str, str]:
    """Returns the header that distinguishes retries from new calls."""
    return {"amz-sdk-request": f"attempt={attempt}; max={most_attempts}"}


def _asked_for(headers: Mapping[str, str]) -> float:
    text = headers.get("x-amz-retry-after", "")
    return int(text) / 1000 if text.isascii() and text.isdigit() else 0.0
