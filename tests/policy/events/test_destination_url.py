"""Which texts of the settings are targets, what they mean, and what is said of the others."""

from __future__ import annotations

import pytest

from invoke_gateway.policy.events.destination_url import (
    BadDestinationUrl,
    FileTarget,
    FunctionTarget,
    HttpTarget,
    SqsTarget,
    StreamTarget,
    names_function,
    parse_destination_url,
)

AWS = "https://sqs.eu-central-1.amazonaws.com"
CHINA = "https://sqs.cn-north-1.amazonaws.com.cn"
EUROPE = "https://sqs.eusc-de-east-1.amazonaws.eu"
LOCAL = "http://127.0.0.1:4566"
ARN = "arn:aws:lambda:us-east-1:111122223333:function:report"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (
            f"sqs+{LOCAL}/000000000000/report-dlq",
            SqsTarget(f"{LOCAL}/000000000000/report-dlq", LOCAL, "report-dlq", None, False),
        ),
        (
            f"sqs+{AWS}/111122223333/dlq.fifo",
            SqsTarget(f"{AWS}/111122223333/dlq.fifo", AWS, "dlq.fifo", "eu-central-1", True),
        ),
        ("https://hooks.example/a?b=c", HttpTarget(True, "hooks.example", 443, "hooks.example", "/a?b=c", None)),
        ("http://u:p%40@[::1]:8080", HttpTarget(False, "::1", 8080, "[::1]:8080", "/", "u:p@")),
        ("file:///var/log/a%20b.jsonl", FileTarget("/var/log/a b.jsonl")),
        ("redis://u:p@h:1/2?stream=dead", StreamTarget("redis://u:p@h:1/2", "dead", "redis://h:1/2?stream=dead")),
        (
            "rediss://h?stream=a&ssl_ca_certs=/ca",
            StreamTarget("rediss://h?ssl_ca_certs=%2Fca", "a", "rediss://h?stream=a"),
        ),
        (
            "unix:///run/v.sock?db=3&stream=a",
            StreamTarget("unix:///run/v.sock?db=3", "a", "unix:///run/v.sock?stream=a"),
        ),
        ("function:report", FunctionTarget(None, None, "report", None)),
        ("function:report:live", FunctionTarget(None, None, "report", "live")),
        (f"{ARN}:$LATEST", FunctionTarget("111122223333", "us-east-1", "report", "$LATEST", "aws")),
        (
            "arn:aws-cn:lambda:cn-north-1:111122223333:function:report",
            FunctionTarget("111122223333", "cn-north-1", "report", None, "aws-cn"),
        ),
        (
            "sqs+https://sqs.cn-north-1.amazonaws.com.cn/111122223333/dlq",
            SqsTarget(f"{CHINA}/111122223333/dlq", CHINA, "dlq", "cn-north-1", True),
        ),
        (
            "sqs+https://sqs.eusc-de-east-1.amazonaws.eu/111122223333/dlq",
            SqsTarget(f"{EUROPE}/111122223333/dlq", EUROPE, "dlq", "eusc-de-east-1", True),
        ),
    ],
)
def test_each_kind_is_read(url: str, target: object) -> None:
    assert parse_destination_url(url) == target


@pytest.mark.parametrize(
    ("url", "message", "cure"),
    [
        (
            "arn:aws:sqs:us-east-1:111122223333:report-dlq",
            "is the ARN of a queue",
            "sqs+https://sqs.us-east-1.amazonaws.com/111122223333/report-dlq",
        ),
        (
            "arn:aws-cn:sqs:cn-north-1:111122223333:report-dlq",
            "is the ARN of a queue",
            "sqs+https://sqs.cn-north-1.amazonaws.com.cn/111122223333/report-dlq",
        ),
        (
            "arn:aws-iso-b:sqs:us-isob-east-1:111122223333:report-dlq",
            "is the ARN of a queue",
            "sqs+https://sqs.us-isob-east-1.sc2s.sgov.gov/111122223333/report-dlq",
        ),
        ("arn:aws:sns:us-east-1:111122223333:t", "is an ARN of 'sns'", "write sqs+https"),
        (ARN.replace("function:", "layer:"), "names no function", "function's ARN"),
        ("function:", "names no function", "function:name"),
        ("function:a/b", "names no function", "function:name"),
        ("sqs://127.0.0.1:4566/000000000000/a", "by which protocol", "sqs+http://127.0.0.1:4566"),
        (f"sqs+{LOCAL}", "is not the URL of a queue", "sqs+http://127.0.0.1:4566"),
        (f"sqs+{LOCAL}/000000000000/a.b", "is not the URL of a queue", "sqs+http://127.0.0.1:4566"),
        ("sqs+http://u:hush@h/000000000000/a", "user name or password", "leave them out"),
        ("http://", "names no host", "https://hooks.example"),
        ("http://hush@h:0/", "names no host", "https://hooks.example"),
        ("http://h:hush/", "a port that is none", "https://"),
        ("https://h/ä", "outside of ASCII", "%C3%A4"),
        ("https://h/a b", "blanks", "%20"),
        ("https://h/a#hush", "after a #", "%23"),
        ("/var/log/a.jsonl", "is a path", "file:///var/log"),
        ("file://a.jsonl", "not absolute", "three slashes"),
        ("file:///var/log/", "names no file", "file:///var/log"),
        ("file:///var/log/a%00b", "names no file", "file:///var/log"),
        ("redis://:hush@h:6379/0", "which stream", "?stream=name"),
        ("redis://:hush@h:6379/x?stream=a", "number of a database", "?stream=name"),
        ("redis://:hush@h,i?stream=a", "several hosts", "one server"),
        ("redis+cluster://:hush@h?stream=a", "cluster or sentinels", "one server"),
        ("redis://:hush@:1?stream=a", "names no host", "redis://127.0.0.1"),
        ("unix://?stream=a", "names no socket", "three slashes"),
        ("mailto:hush@example.org", "must begin with", "file:///"),
        ("", "must begin with", "file:///"),
    ],
)
def test_what_is_no_target_is_refused_with_the_cure_and_without_a_password(url: str, message: str, cure: str) -> None:
    with pytest.raises(BadDestinationUrl) as raised:
        parse_destination_url(url)
    assert message in str(raised.value)
    assert cure in raised.value.cure
    assert "hush" not in f"{raised.value} {raised.value.cure}"


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hush@h:1/a?token=hush",
        "redis://u:hush@h:1/0?stream=s&password=hush",
        "unix://u:hush@/run/v.sock?stream=s",
    ],
)
def test_what_people_see_of_a_target_holds_no_password(url: str) -> None:
    assert "hush" not in parse_destination_url(url).shown


@pytest.mark.parametrize("url", ["function:a:live", f"{ARN}:live", "file:///a", f"sqs+{LOCAL}/000000000000/a"])
def test_where_there_is_nothing_to_hide_people_see_what_they_wrote(url: str) -> None:
    assert parse_destination_url(url).shown == url


def test_a_function_is_found_behind_each_way_to_name_it() -> None:
    for target in ("function:report", "function:report:live", ARN, f"{ARN}:1"):
        assert names_function(target, "report")
        assert not names_function(target, "other")
    assert not names_function("https://report/", "report")
    assert not names_function("nonsense", "nonsense")


def test_the_function_of_that_name_in_another_account_is_another_function() -> None:
    assert names_function(ARN, "report", "111122223333")
    assert not names_function(ARN, "report", "000000000000")
    assert names_function("function:report", "report", "000000000000")
