"""Finds entries of `callers` that contradict one another, or `signatures`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from invoke_gateway.settings.models.callers import is_arn
from invoke_gateway.settings.models.settings import Settings
from invoke_gateway.settings.paths import Path, join_key
from invoke_gateway.settings.problems import Finding

_OF_KEYS = ("secret", "session_token", "arn")
_OF_CALLERS = ("policies", "concurrent_executions", "requests_per_second")
_SIGNATURES = ("signatures",)


def find_caller_contradictions(settings: Settings) -> Iterator[Finding]:
    """Finds all contradictions in `callers`, and in what has a meaning only with or without verified signatures."""
    if settings.signatures == "verify":
        yield from _find_lacking(settings)
    else:
        yield from _find_unused_policies(settings)
    yield from _find_wrong_kinds(settings)
    yield from _find_unequal(settings)


def _find_lacking(settings: Settings) -> Iterator[Finding]:
    keys = {name: entry for name, entry in settings.callers.items() if not is_arn(name)}
    if not keys:
        message = "is verify, but callers has no access key, so each request would be refused"
        cure = "add access keys with secret and arn to callers, or set signatures to off"
        yield Finding("signatures", message, cure, (_SIGNATURES, ("callers",)))
    if settings.credentials:
        message = "is set, but with signatures: verify the account of a caller is that of its ARN"
        cure = "remove credentials: give each access key in callers its arn"
        yield Finding("credentials", message, cure, (_SIGNATURES, ("credentials",)))
    for name, entry in keys.items():
        path = ("callers", name)
        for key, cure in (("secret", "env:NAME or file:/path"), ("arn", "arn:aws:iam::111122223333:user/alice")):
            if getattr(entry, key) is None:
                needs: tuple[Path, ...] = (_SIGNATURES, (*path, key))
                message = "is missing, and signatures: verify needs it"
                yield Finding(join_key((*path, key)), message, f"add it, such as {cure}", needs)
    known = sorted({entry.arn for entry in keys.values() if entry.arn is not None})
    for name in settings.callers.keys() - keys.keys():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
            cure = f"did you mean {close[0]}? Else " if close else ""
            cure += "give an access key this arn, or remove the entry"
            arns = (("callers", key, "arn") for key in keys)
            needs = (_SIGNATURES, ("callers", name), *arns)
            yield Finding(join_key(("callers", name)), "is the arn of no access key", cure, needs)


def _find_unused_policies(settings: Settings) -> Iterator[Finding]:
    cure = "set signatures to verify, or remove the policy"
    for name, entry in settings.callers.items():
        if entry.policies:
            path = ("callers", name, "policies")
            yield Finding(join_key(path), "has no effect with signatures: off", cure, (_SIGNATURES, path))
    for account, limits in settings.accounts.items():
        for name, function in limits.functions.items():
            if function.resource_policy is not None:
                key = join_key(("accounts", account, "functions", name, "resource_policy"))
                yield Finding(key, "has no effect with signatures: off", cure, (_SIGNATURES,))


def _find_wrong_kinds(settings: Settings) -> Iterator[Finding]:
    for name, entry in settings.callers.items():
        if not is_arn(name):
            continue
        for key in _OF_KEYS:
            if getattr(entry, key) is not None:
                message = "belongs to an access key, and this entry is a caller's ARN"
                cure = "move it to the entry of an access key, which names the caller by arn"
                yield Finding(join_key(("callers", name, key)), message, cure)


def _find_unequal(settings: Settings) -> Iterator[Finding]:
    """Finds entries of one caller with different limits or policies. An entry may leave them to another."""
    first: dict[tuple[str, str], tuple[str, object]] = {}
    for name, entry in settings.callers.items():
        arn = name if is_arn(name) else entry.arn
        if arn is None:
            continue
        for key in _OF_CALLERS:
            value = getattr(entry, key)
            if value is None or value == ():
                continue
            other, before = first.setdefault((arn, key), (name, value))
            if before != value:
                path = ("callers", name, key)
                message = f"differs from that of {other}, which is the same caller ({arn})"
                cure = f"give both one value, or put it once under {arn}"
                yield Finding(join_key(path), message, cure, (path, ("callers", other, key)))
