"""Dotted keys."""

from invoke_gateway.settings import Override, load
from invoke_gateway.settings.paths import join_key, split_key


def test_a_function_name_with_a_dot_is_written_in_quotes_inside_a_key() -> None:
    key = 'accounts.default.functions."my.func".reserved_concurrent_executions'
    assert load(None, {key: Override(3, "--reserve")}).accounts["default"].functions["my.func"]
    assert join_key(split_key(key)) == key
