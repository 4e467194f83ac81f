"""The comparison of limits: other settings are a mismatch, a change under way is none."""

from __future__ import annotations

from invoke_gateway.counters.shared.limits_digest import LimitsDigest, describe_limits
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits


def limits(reserved: int, revision: str, total: int = 10) -> AccountLimits:
    return AccountLimits("a", total, {"f": FunctionLimits(reserved)}, control_revision=revision)


def test_other_settings_are_a_mismatch_at_once_and_are_reported_once() -> None:
    here = Limits(limits(1, "4:w"))
    digest = LimitsDigest(lambda: here)
    other = describe_limits(limits(1, "4:w", total=12))
    assert "concurrent_executions 12" in (digest.compare("a", "g-2", other) or "")
    assert digest.differ
    assert digest.compare("a", "g-2", other) is None
    assert digest.compare("a", "", "") is None
    assert not digest.differ


def test_a_change_under_way_is_no_mismatch() -> None:
    revisions = [limits(number, f"{number}:w") for number in range(8)]
    for number, here in enumerate(revisions[1:], 1):
        table = Limits(here)
        digest = LimitsDigest(lambda table=table: table)
        for other in (revisions[number - 1], limits(number, f"{number}:other")):
            assert digest.compare("a", "g-2", describe_limits(other)) is None
            assert digest.compare("a", "g-2", describe_limits(other)) is None
            assert not digest.differ


def test_a_gateway_that_never_reads_the_change_is_a_mismatch() -> None:
    """Such as one of a version without control operations."""
    here = Limits(limits(3, "3:w"))
    digest = LimitsDigest(lambda: here)
    other = describe_limits(limits(2, ""))
    found = [digest.compare("a", "g-2", other) for _ in range(4)]
    assert [text is not None for text in found] == [False, False, True, False]
    assert digest.differ


def test_another_source_of_outside_concurrency_is_a_mismatch_and_another_reading_is_none() -> None:
    def outside(slots: int, source: str | None) -> AccountLimits:
        return AccountLimits("a", 10, outside_concurrency=slots, outside_source=source)

    digest = LimitsDigest(lambda: Limits(outside(2, "2")))
    for other in (outside(3, "3"), outside(2, "cloudwatch"), outside(0, None)):
        assert "outside_concurrency 2" in (digest.compare("a", "g-2", describe_limits(other)) or "")
        assert digest.compare("a", "", "") is None
    assert digest.compare("a", "g-2", describe_limits(outside(2, "2"))) is None
    polled = LimitsDigest(lambda: Limits(outside(2, "cloudwatch")))
    assert polled.compare("a", "g-2", describe_limits(outside(7, "cloudwatch"))) is None
    assert "outside" not in describe_limits(outside(0, None))
