"""The pauses of an SDK in `standard` mode, compared with botocore's own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from botocore.retries.standard import ExponentialBackoff

from loadtests.load.retry import attempt_header, may_retry, pause_seconds


def pause_of_botocore(status: int, attempt: int, headers: dict[str, str], dice: float) -> float:
    detector = SimpleNamespace(is_throttling_error_from_context=lambda context: status == 429)
    backoff = ExponentialBackoff(random=lambda: dice, service_name="lambda", throttling_detector=detector)
    context = SimpleNamespace(attempt_number=attempt, http_response=SimpleNamespace(headers=headers))
    seconds: float = backoff.delay_amount(context)
    return seconds


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("attempt", [1, 2, 3, 8])
@pytest.mark.parametrize("dice", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("asked", [None, "1500", "100", "90000", "0", "", "soon", "-5"])
def test_the_pause_is_botocores(status: int, attempt: int, dice: float, asked: str | None) -> None:
    headers = {"retry-after": "7"} | ({} if asked is None else {"x-amz-retry-after": asked})
    assert pause_seconds(status, attempt, headers, dice) == pause_of_botocore(status, attempt, headers, dice)


def test_a_scale_shortens_the_pauses_but_not_what_the_server_asks_for() -> None:
    assert pause_seconds(429, 2, {}, 1.0, scale=0.1) == pytest.approx(0.2)
    assert pause_seconds(429, 2, {"x-amz-retry-after": "300"}, 1.0, scale=0.1) == 0.3


def test_throttles_server_errors_and_lost_connections_are_tried_again_up_to_three_attempts() -> None:
    assert [may_retry(status, 2) for status in (0, 429, 500, 502, 503, 504)] == [True] * 6
    assert not any(may_retry(status, 1) for status in (200, 202, 400, 404, 408, 413))
    assert not may_retry(429, 3)
    assert may_retry(429, 3, most_attempts=5)


def test_each_attempt_says_which_it_is() -> None:
    assert attempt_header(2) == {"amz-sdk-request": "attempt=2; max=3"}
