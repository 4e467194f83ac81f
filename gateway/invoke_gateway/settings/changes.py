"""Describes what a reload changes, for the log. Values that may have a password, such as URLs, are not shown."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import islice
from typing import NamedTuple

from pydantic import BaseModel

from invoke_gateway.settings.models.accounts import Account, FunctionSettings
from invoke_gateway.settings.models.settings import Settings
from invoke_gateway.settings.paths import join_key

_MOST_SHOWN = 20  # changes; a generated file may change a million
_TARGETS = frozenset({"dead_letter_queue", "on_success", "on_failure", "resource_policy"})
_RESERVATION = "reserved_concurrent_executions"


class Changes(NamedTuple):
    """Holds the first changes as texts, and the number of all."""

    shown: tuple[str, ...]
    number: int

    def __str__(self) -> str:
        more = self.number - len(self.shown)
        return ", ".join(self.shown) + (f" and {more} more" if more else "") if self.number else "no limit has changed"


def describe_changes(old: Settings, new: Settings) -> Changes:
    """Returns the changes of accounts, credentials, callers and quotas: `checkout 3 -> 5, +search, -legacy`."""
    changes = _changes(old, new)
    shown = tuple(islice(changes, _MOST_SHOWN))
    return Changes(shown, len(shown) + sum(1 for _ in changes))


def _changes(old: Settings, new: Settings) -> Iterator[str]:
    for account in _names(old.accounts, new.accounts):
        before, after = old.accounts.get(account), new.accounts.get(account)
        if before is None or after is None:
            yield f"{'+' if before is None else '-'}account {account}"
        elif before != after:
            yield from _changes_of_account(account, before, after)
    yield from _changes_of_names("credentials", old.credentials, new.credentials)
    yield from _changes_of_names("callers", old.callers, new.callers)
    yield from _changes_of_model(("quotas",), old.quotas, new.quotas)
    for key in ("admin_token", "admin_reads"):
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            yield f"{key} {_show(before)} -> {_show(after)}"


def _changes_of_account(account: str, old: Account, new: Account) -> Iterator[str]:
    yield from _changes_of_model(("accounts", account), old, new)
    for name in _names(old.functions, new.functions):
        shown = name if account == "default" else f"{account}/{name}"
        before, after = old.functions.get(name), new.functions.get(name)
        if before is None or after is None:
            yield f"{'+' if before is None else '-'}{shown}"
        elif before != after:
            yield from _changes_of_function(shown, before, after)


def _changes_of_function(shown: str, old: FunctionSettings, new: FunctionSettings) -> Iterator[str]:
    for field in fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after:
            continue
        key = shown if field.name == _RESERVATION else f"{shown}.{field.name}"
        if field.name in _TARGETS:
            yield f"{key} {'set' if before is None else 'removed' if after is None else 'changed'}"
        else:
            yield f"{key} {_show(before)} -> {_show(after)}"


def _changes_of_model(path: tuple[str, ...], old: BaseModel, new: BaseModel) -> Iterator[str]:
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before != after and not isinstance(before, dict):
            yield f"{join_key((*path, name))} {_show(before)} -> {_show(after)}"


def _changes_of_names(key: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    """Yields the number of changed entries: no access key is shown in the log."""
    changed = sum(1 for name in old.keys() & new.keys() if old[name] != new[name])
    numbers = ((len(new.keys() - old.keys()), "added"), (len(old.keys() - new.keys()), "removed"), (changed, "changed"))
    texts = [f"{number} {what}" for number, what in numbers if number]
    if texts:
        yield f"{key}: {', '.join(texts)}"


def _names(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    """Yields the names of both: the old ones first, then those that are new."""
    if old == new:
        return
    yield from old
    yield from (name for name in new if name not in old)


def _show(value: object) -> str:
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
