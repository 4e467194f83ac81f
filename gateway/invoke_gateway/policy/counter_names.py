"""Makes the names of counters and buckets, and takes them apart: the only file that knows their form."""

from __future__ import annotations

from typing import NamedTuple

_ACCOUNT = "/account"
_POOL = "/unreserved"
_FUNCTION = "/function/"
_PROVISIONED = "/provisioned/"
_ON_DEMAND = "/on-demand/"
_CALLER = "/caller/"


class CounterName(NamedTuple):
    """Holds the parts of a counter's name. `function` is None for the counters of the account itself."""

    account: str
    function: str | None


def account_counter(account: str) -> str:
    """Returns the counter that every slot of the account holds."""
    return account + _ACCOUNT


def pool_counter(account: str) -> str:
    """Returns the counter of the slots that no function has reserved."""
    return account + _POOL


def function_prefix(account: str) -> str:
    """Returns the text before a function's name in its counter's name."""
    return account + _FUNCTION


def function_counter(account: str, function: str) -> str:
    return function_prefix(account) + function


def provisioned_counter(account: str, function: str, version: str) -> str:
    """Returns the counter of the slots that are provisioned for one version. An alias stands for a version that the
    backend has not named."""
    return f"{account}{_PROVISIONED}{function}/{version}"


def on_demand_counter(account: str, function: str) -> str:
    """Returns the counter of a function's slots beside its provisioned concurrency."""
    return account + _ON_DEMAND + function


def growth_bucket(account: str, counter: str) -> str:
    """Returns the bucket of the scaling rate of a function, of which `counter` counts the slots."""
    return f"{account}/growth{counter.removeprefix(account)}"


def environments_counter(account: str, function: str) -> str:
    """Returns the counter of the execution environments of a function that isolates tenants."""
    return f"{account}/environments/{function}"


def counter_of(account: str, function: str | None) -> str:
    """Returns the counter that every slot of the function holds, or of the account where `function` is None."""
    return account_counter(account) if function is None else function_counter(account, function)


def caller_bucket(account: str, access_key_id: str | None) -> str:
    """Returns the bucket of a caller's rate. All callers without a known key share one."""
    return f"{account}{_CALLER}{access_key_id or ''}"


def caller_counter(account: str, caller: str) -> str:
    """Returns the counter of the slots of a caller: an ARN, or an access key id."""
    return f"{account}{_CALLER}{caller}"


def caller_of(name: str) -> str | None:
    """Returns the caller of a counter or a bucket; None for others, and for the bucket of unknown callers."""
    _, kind, caller = _split(name)
    return (caller or None) if kind == _CALLER else None


def split_counter(counter: str) -> CounterName:
    """Takes a counter apart. The counters of a function's lanes are the function's; those of callers are of no
    function."""
    account, kind, name = _split(counter)
    if not name or kind == _CALLER:
        return CounterName(account, None)
    return CounterName(account, name.partition("/")[0] if kind == _PROVISIONED else name)


def function_of(counter: str) -> str | None:
    """Returns the function whose own counter this is; None for other counters."""
    _, kind, name = _split(counter)
    return (name or None) if kind == _FUNCTION else None


def _split(counter: str) -> tuple[str, str, str]:
    """Returns the account, the kind with its slashes, and the rest."""
    account, _, rest = counter.partition("/")
    kind, _, name = rest.partition("/")
    return account, f"/{kind}/", name


def account_counted_by(counter: str) -> str | None:
    """Returns the account where `counter` counts all of its slots, else None."""
    return counter.removesuffix(_ACCOUNT) if counter.endswith(_ACCOUNT) and counter.count("/") == 1 else None
