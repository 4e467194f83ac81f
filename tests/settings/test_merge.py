"""Overrides, over the file and over each other."""

from pathlib import Path

from invoke_gateway.settings import Override, load
from tests.settings.reading import write


def test_an_override_of_one_account_leaves_its_twin_by_anchor_alone(tmp_path: Path) -> None:
    text = 'accounts: {default: &a {concurrent_executions: 10}, "111122223333": *a}'
    key = "accounts.default.concurrent_executions"
    accounts = load(write(tmp_path, text), {key: Override(20, "--concurrent-executions")}).accounts
    assert accounts["default"].concurrent_executions == 20
    assert accounts["111122223333"].concurrent_executions == 10


def test_overrides_go_over_the_file_and_later_ones_over_earlier(tmp_path: Path) -> None:
    path = write(tmp_path, "region: eu-west-1\nmax_headers: 5")
    overrides = {
        "region": Override("us-west-2", "--region"),
        "accounts": Override({"default": {"concurrent_executions": 1}}, "--accounts"),
        "accounts.default.concurrent_executions": Override(2, "--concurrent-executions"),
    }
    settings = load(path, overrides)
    assert (settings.region, settings.max_headers) == ("us-west-2", 5)
    assert settings.accounts["default"].concurrent_executions == 2
