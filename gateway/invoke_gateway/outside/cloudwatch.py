"""Reads outside concurrency from CloudWatch: the account's `ConcurrentExecutions` without the gateway's own calls.

CloudWatch has the highest concurrency of each minute, a minute or two later. The gateway keeps the highest number of
its own calls in the same minutes. The difference is the slots that all other callers used. It is too low where the two
peaks did not fall together, and too high where a peak of own calls fell between two samples.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import time
from typing import Any

from .base import CannotRead, OutsideReading

_MINUTE = 60
_MINUTES_READ = 10  # CloudWatch may be late
_MINUTES_KEPT = 15
_SECONDS = 10.0

Metric = Callable[[float, float], Mapping[int, float]]
"""Returns the highest number of each minute between two times: by the start of the minute, all in seconds since the
epoch. Blocks. Raises `CannotRead`."""


class CloudWatchConcurrency:
    """Subtracts the gateway's own calls.

    metric: the metric of the account
    now: seconds since the epoch
    """

    needs_samples = True

    def __init__(self, metric: Metric, *, now: Callable[[], float] = time) -> None:
        self._metric = metric
        self._now = now
        self._own: dict[int, int] = {}

    def sample(self, own: int) -> None:
        minute = int(self._now()) // _MINUTE * _MINUTE
        if own > self._own.get(minute, -1):
            self._own[minute] = own
            while len(self._own) > _MINUTES_KEPT:
                del self._own[next(iter(self._own))]

    async def read(self) -> OutsideReading | None:
        now = self._now()
        found = await asyncio.to_thread(self._metric, now - _MINUTES_READ * _MINUTE, now)
        # The first minute was not sampled whole, and the present one is not over.
        whole = [minute for minute in list(self._own)[1:] if minute + _MINUTE <= now]
        known = [minute for minute in whole if minute in found]
        if known:
            minute = max(known)
            return OutsideReading(math.ceil(max(found[minute] - self._own[minute], 0)), minute + _MINUTE)
        if not found and len(whole) >= _MINUTES_READ:
            return OutsideReading(0, now)  # Lambda publishes no number where nothing runs
        return None


class LambdaMetric:
    """Asks CloudWatch, as botocore does: credentials, profile and endpoint are those of its configuration.

    profile: the profile; None: the default one
    """

    def __init__(self, region: str, profile: str | None = None) -> None:
        self._region = region
        self._profile = profile
        self._client: Any = None

    def __call__(self, start: float, end: float) -> dict[int, float]:
        """Returns the metric of the whole account."""
        try:
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            raise CannotRead("CloudWatch needs botocore: pip install botocore") from error
        try:
            if self._client is None:
                self._client = self._make_client()
            answer = self._client.get_metric_data(
                MetricDataQueries=[
                    {
                        "Id": "concurrency",
                        "MetricStat": {
                            "Metric": {"Namespace": "AWS/Lambda", "MetricName": "ConcurrentExecutions"},
                            "Period": _MINUTE,
                            "Stat": "Maximum",
                        },
                    }
                ],
                StartTime=datetime.fromtimestamp(start, UTC),
                EndTime=datetime.fromtimestamp(end, UTC),
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "an error")
            cure = (
                "allow cloudwatch:GetMetricData to the gateway's role" if "Denied" in code else "check the credentials"
            )
            raise CannotRead(f"CloudWatch answered {code}; {cure}") from error
        except (BotoCoreError, ValueError) as error:
            raise CannotRead(f"CloudWatch cannot be asked: {error}") from error
        found = answer["MetricDataResults"][0]
        return {int(at.timestamp()): value for at, value in zip(found["Timestamps"], found["Values"], strict=True)}

    def _make_client(self) -> Any:
        from botocore.config import Config
        from botocore.session import Session

        config = Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"total_max_attempts": 1})
        return Session(profile=self._profile).create_client("cloudwatch", region_name=self._region, config=config)
