"""CloudWatch's number without the gateway's own calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from invoke_gateway.outside.base import CannotRead, OutsideReading
from invoke_gateway.outside.cloudwatch import CloudWatchConcurrency, LambdaMetric
from tests.live import servers

MINUTE = 60
START = 1_000_000 * MINUTE


class Clock:
    now = float(START)

    def __call__(self) -> float:
        return self.now


class Metric(dict[int, float]):
    """Holds the numbers that CloudWatch has."""

    def __call__(self, start: float, end: float) -> dict[int, float]:
        return {minute: value for minute, value in self.items() if start <= minute < end}


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sample(source: CloudWatchConcurrency, clock: Clock, own: list[int]) -> None:
    """Samples one minute, evenly."""
    for number in own:
        source.sample(number)
        clock.now += MINUTE / len(own)


async def test_the_peak_of_own_calls_in_the_same_minute_is_subtracted(clock: Clock) -> None:
    metric = Metric()
    source = CloudWatchConcurrency(metric, now=clock)
    sample(source, clock, [0, 9])
    sample(source, clock, [3, 7, 5])
    metric |= {START: 60.0, START + MINUTE: 47.0}
    assert await source.read() == OutsideReading(40, START + 2 * MINUTE)
    sample(source, clock, [1, 1])
    assert await source.read() == OutsideReading(40, START + 2 * MINUTE), "CloudWatch is behind"
    metric[START + 2 * MINUTE] = 11.5
    assert await source.read() == OutsideReading(11, START + 3 * MINUTE)


async def test_the_minute_of_the_start_and_the_present_one_do_not_count(clock: Clock) -> None:
    metric = Metric({START: 60.0, START + MINUTE: 47.0})
    source = CloudWatchConcurrency(metric, now=clock)
    source.sample(5)
    assert await source.read() is None
    clock.now += MINUTE
    source.sample(5)
    assert await source.read() is None


async def test_more_own_calls_than_cloudwatch_has_are_no_negative_number(clock: Clock) -> None:
    source = CloudWatchConcurrency(Metric({START + MINUTE: 3.0}), now=clock)
    sample(source, clock, [0])
    sample(source, clock, [8])
    assert await source.read() == OutsideReading(0, START + 2 * MINUTE)


async def test_lambda_publishes_nothing_where_nothing_runs(clock: Clock) -> None:
    source = CloudWatchConcurrency(Metric(), now=clock)
    for _ in range(10):
        sample(source, clock, [0])
    assert await source.read() is None, "CloudWatch may be late"
    sample(source, clock, [0])
    assert await source.read() == OutsideReading(0, clock.now)


@pytest.fixture
def cloudwatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Returns the URL of a moto, where botocore's configuration leads."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with servers.moto(tmp_path / "moto") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", url)
        yield url


def test_botocore_reads_the_metric_of_the_account(cloudwatch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC).timestamp() // MINUTE * MINUTE
    client = boto3.client("cloudwatch", endpoint_url=cloudwatch, region_name="us-east-1", config=Config(proxies={}))
    for minute, value in ((now - 3 * MINUTE, 40.0), (now - 3 * MINUTE, 44.0), (now - 2 * MINUTE, 7.0)):
        at = datetime.fromtimestamp(minute, UTC)
        # moto takes numbers for the namespace of AWS, for which the real service keeps its own.
        datum = {"MetricName": "ConcurrentExecutions", "Timestamp": at, "Value": value}
        client.put_metric_data(Namespace="AWS/Lambda", MetricData=[datum])
    client.close()
    metric = LambdaMetric("us-east-1")
    assert metric(now - 10 * MINUTE, now) == {int(now) - 3 * MINUTE: 44.0, int(now) - 2 * MINUTE: 7.0}
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9")
    with pytest.raises(CannotRead, match="CloudWatch cannot be asked"):
        LambdaMetric("us-east-1")(now - 10 * MINUTE, now)
