"""What a gateway under test is set to."""

from __future__ import annotations

from invoke_gateway.settings import Settings
from invoke_gateway.testing.settings import make_settings


def test_without_anything_it_is_the_demo_backend_with_awss_limits_on_free_ports() -> None:
    settings = Settings.model_validate(make_settings())
    assert settings.backend.url == "demo"
    assert settings.faults
    assert (settings.listen.port, settings.admin.port) == (0, 0)
    assert settings.accounts["default"].concurrent_executions == 1000


def test_limits_of_the_default_account_have_short_names() -> None:
    settings = Settings.model_validate(make_settings("http://127.0.0.1:4566", 10, {"checkout": 2, "report": 0}))
    default = settings.accounts["default"]
    assert settings.backend.url == "http://127.0.0.1:4566"
    assert default.concurrent_executions == 10
    reserved = {name: function.reserved_concurrent_executions for name, function in default.functions.items()}
    assert reserved == {"checkout": 2, "report": 0}


def test_no_rate_throttles_a_test_because_the_machine_is_fast() -> None:
    settings = Settings.model_validate(make_settings(reserve={"checkout": 1}, accounts={"111122223333": {}}))
    for account in settings.accounts.values():
        assert account.requests_per_second == "off"
    assert settings.accounts["default"].functions["checkout"].requests_per_second == "off"


def test_the_throttled_are_told_to_come_back_soon_unless_asked_otherwise() -> None:
    assert Settings.model_validate(make_settings()).retry.maximum_seconds == 1
    retry = Settings.model_validate(make_settings(retry={"maximum_seconds": 9, "retry_after": False})).retry
    assert (retry.maximum_seconds, retry.retry_after) == (9, False)


def test_a_rate_that_is_asked_for_is_kept() -> None:
    functions = {"checkout": {"requests_per_second": 1}}
    given = {"default": {"requests_per_second": "auto", "functions": functions}}
    default = Settings.model_validate(make_settings(reserve={"checkout": 1}, accounts=given)).accounts["default"]
    assert default.requests_per_second == "auto"
    assert default.functions["checkout"].requests_per_second == 1
    assert default.functions["checkout"].reserved_concurrent_executions == 1


def test_every_other_key_is_that_of_the_settings_file_and_what_was_given_is_left_as_it_was() -> None:
    given = {"accounts": {"default": {"functions": {}}}, "quotas": {"request": 100}, "listen": "127.0.0.1:9101"}
    settings = Settings.model_validate(make_settings({"url": "demo", "timeout_seconds": 5}, 10, {"a": 1}, **given))
    assert (settings.quotas.request, settings.backend.timeout_seconds, settings.listen.port) == (100, 5, 9101)
    assert given["accounts"] == {"default": {"functions": {}}}


def test_events_are_tried_again_soon_unless_asked_otherwise() -> None:
    events = Settings.model_validate(make_settings()).async_
    assert (events.function_error_delays_seconds, events.shortest_delay_seconds) == ((0.1, 0.2), 0.1)
    assert events.longest_delay_seconds == 1
    events = Settings.model_validate(
        make_settings(
            **{"async": {"delivery_attempts": 2, "longest_delay_seconds": 5}}, async_={"delivery_attempts": 3}
        )
    ).async_
    assert (events.delivery_attempts, events.longest_delay_seconds, events.shortest_delay_seconds) == (3, 5, 0.1)
