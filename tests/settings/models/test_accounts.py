"""Accounts and functions: reservations, the floor, names and rates."""

from pathlib import Path

import pytest

from invoke_gateway.settings import Override, SettingsError, load
from invoke_gateway.settings.models.accounts import Account
from tests.settings.reading import FLOOR_SENTENCE, RESERVED, problem_of, write


def test_the_default_account_is_there_even_when_only_others_are_named(tmp_path: Path) -> None:
    settings = load(write(tmp_path, 'accounts: {"111122223333": {concurrent_executions: 5}}'))
    assert list(settings.accounts) == ["default", "111122223333"]


def test_reservations_below_the_floor_are_refused_with_the_sentence_of_aws_and_the_numbers(
    tmp_path: Path,
) -> None:
    problem = problem_of(
        tmp_path, "accounts: {default: {functions: {checkout: {reserved_concurrent_executions: 950}}}}"
    )
    assert (problem.key, problem.message) == ("accounts.default", FLOOR_SENTENCE)
    assert problem.cure == (
        "950 of 1000 concurrent executions are reserved, which leaves 50 where 100 must stay unreserved: reserve "
        "50 fewer, or raise concurrent_executions to 1050, or lower unreserved_floor to 50"
    )


def test_a_small_account_may_reserve_all_it_has() -> None:
    overrides = {
        "accounts.default.concurrent_executions": Override(10, "--concurrent-executions"),
        RESERVED: Override(10, "--reserve"),
    }
    assert load(None, overrides).accounts["default"].unreserved == 0


def test_more_than_the_account_is_refused_and_no_floor_can_help() -> None:
    overrides = {
        "accounts.default.concurrent_executions": Override(10, "--concurrent-executions"),
        RESERVED: Override(11, "--reserve"),
    }
    with pytest.raises(SettingsError) as raised:
        load(None, overrides)
    (problem,) = raised.value.problems
    assert problem.source == "--concurrent-executions, --reserve"
    assert "[0]" in problem.message
    assert "unreserved_floor" not in problem.cure


@pytest.mark.parametrize("value", ["on", "fast", "-1", ".inf", "{a: 1}", "[]"])
def test_a_rate_is_auto_off_or_a_number(tmp_path: Path, value: str) -> None:
    problem = problem_of(tmp_path, f"accounts: {{default: {{requests_per_second: {value}}}}}")
    assert "must be auto, off, or a number of requests per second, 0 or more" in problem.message


def test_a_rate_of_zero_is_a_rate_and_not_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("accounts: {default: {requests_per_second: 0}}")
    assert load(tmp_path / "gateway.yaml").accounts["default"].requests_per_second == 0


def test_a_caller_rate_is_never_auto(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "accounts: {default: {caller_requests_per_second: auto}}")
    assert problem.message.startswith("must be off, or a number")


@pytest.mark.parametrize(
    ("account", "words", "cure"),
    [
        ("111122223333", "is a number here, not a name", 'put it in quotes: "111122223333"'),
        (
            '"12"',
            "must be `default` or a 12-digit account id in quotes",
            'write all 12 digits, in quotes: "111122223333"',
        ),
        (
            "12",
            "must be `default` or a 12-digit account id in quotes",
            'write all 12 digits, in quotes: "111122223333"',
        ),
        ('"000000000000"', "is how the account `default` is shown", "write default instead of 000000000000"),
    ],
)
def test_an_account_is_default_or_twelve_digits_in_quotes(tmp_path: Path, account: str, words: str, cure: str) -> None:
    problem = problem_of(tmp_path, f"accounts: {{{account}: {{}}}}")
    assert (problem.message, problem.cure) == (words, cure)


@pytest.mark.parametrize("name", ["checkout:1", "arn:aws:lambda:us-east-1:111122223333:function:f", "a b", ""])
def test_a_function_is_named_plainly_because_its_versions_share_its_limits(tmp_path: Path, name: str) -> None:
    problem = problem_of(tmp_path, f'accounts: {{default: {{functions: {{"{name}": {{}}}}}}}}')
    assert problem.message.startswith("must be a plain function name")
    assert problem.cure.endswith("leave out ARN, version and alias: all versions of a function share its limits")


def test_a_function_name_that_yaml_reads_as_something_else_needs_quotes(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "accounts: {default: {functions: {on: {}}}}")
    assert (problem.message, problem.cure) == ("is true here, not a name", "put the name in quotes")


def test_the_unreserved_slots_are_those_that_nothing_claims() -> None:
    """Provisioned concurrency is part of its function's reservation, else of the pool; callers past the gateway are no
    part of either."""
    functions = {
        "pool": {"provisioned_concurrent_executions": {"1": 20}},
        "own": {"reserved_concurrent_executions": 30, "provisioned_concurrent_executions": {"1": 10}},
    }
    account = Account.model_validate({"functions": functions, "outside_concurrency": 7})
    assert (account.reserved, account.claimed, account.unreserved) == (30, 50, 943)
