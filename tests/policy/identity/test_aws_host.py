"""Hosts of AWS Lambda, compared with botocore's own table of endpoints."""

from __future__ import annotations

import pytest
from botocore.regions import EndpointResolver
from botocore.session import get_session

from invoke_gateway.policy.identity.aws_host import find_lambda_region


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("lambda.us-east-1.amazonaws.com", "us-east-1"),
        ("LAMBDA.US-EAST-1.AMAZONAWS.COM", "us-east-1"),
        ("lambda.us-east-1.amazonaws.com.", "us-east-1"),
        ("lambda-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("lambda.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("lambda.eu-west-1.api.aws", "eu-west-1"),
        ("lambda.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("vpce-0a1b2c3d-4e5f.lambda.eu-central-1.vpce.amazonaws.com", "eu-central-1"),
        ("vpce-0a1b2c3d-4e5f-eu-central-1a.lambda.eu-central-1.vpce.amazonaws.com", "eu-central-1"),
        ("lambda.us-east-1.vpce.amazonaws.com", None),
        ("lambda.us-east-1.amazonaws.com.example.org", None),
        ("x.lambda.us-east-1.amazonaws.com", None),
        ("abc.lambda-url.us-east-1.on.aws", None),
        ("sqs.us-east-1.amazonaws.com", None),
        ("lambda.localhost", None),
        ("127.0.0.1", None),
        ("", None),
    ],
)
def test_hosts(host: str, region: str | None) -> None:
    assert find_lambda_region(host) == region


def test_every_host_that_botocore_has_for_lambda() -> None:
    resolver = EndpointResolver(get_session().get_data("endpoints"))
    count = 0
    for partition in resolver.get_available_partitions():
        for region in resolver.get_available_endpoints("lambda", partition):
            endpoint = resolver.construct_endpoint("lambda", region, partition)
            assert find_lambda_region(endpoint["hostname"]) == region
            count += 1
    assert count > 30
