"""Makes the settings of a gateway under test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ON_FREE_PORTS = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
SOON = {"function_error_delays_seconds": [0.1, 0.2], "shortest_delay_seconds": 0.1, "longest_delay_seconds": 1}


def make_settings(
    backend: str | Mapping[str, Any] = "demo",
    concurrent_executions: int | None = None,
    reserve: Mapping[str, int] | None = None,
    async_: Mapping[str, Any] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Returns the content of the settings file.

    Unless `settings` has other values, listeners are on free ports and fault scripts are accepted. Request rates are
    off, because a test must not be throttled for a fast machine. Waits are short: throttled clients are advised to
    retry within a second, and events are retried within one.

    backend: a URL, `demo`, or the settings under that key
    concurrent_executions, reserve: limits of the default account (slots; slots by function)
    async_: the settings under `async`, a word that Python keeps for itself
    settings: all further keys
    """
    accounts: dict[str, Any] = {"default": {}, **settings.pop("accounts", {})}
    default = dict(accounts["default"])
    if concurrent_executions is not None:
        default["concurrent_executions"] = concurrent_executions
    if reserve:
        default["functions"] = dict(default.get("functions", {}))
        for name, slots in reserve.items():
            function = default["functions"].get(name, {})
            default["functions"][name] = {**function, "reserved_concurrent_executions": slots}
    accounts["default"] = default
    return {
        **ON_FREE_PORTS,
        "faults": True,
        **settings,
        "retry": {"maximum_seconds": 1, **settings.get("retry", {})},
        "async": {**SOON, **settings.get("async", {}), **(async_ or {})},
        "backend": {"url": backend} if isinstance(backend, str) else dict(backend),
        "accounts": {name: _without_rates(account) for name, account in accounts.items()},
    }


def _without_rates(account: Any) -> Any:
    if not isinstance(account, Mapping):
        return account  # a mistake, which the gateway explains
    unrated: dict[str, Any] = {"requests_per_second": "off", **account}
    functions = unrated.get("functions")
    if isinstance(functions, Mapping):
        unrated["functions"] = {
            name: {"requests_per_second": "off", **function} if isinstance(function, Mapping) else function
            for name, function in functions.items()
        }
    return unrated
