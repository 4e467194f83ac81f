"""Compares the value of a condition key with the values in a policy, by the operators of IAM."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from .condition_keys import KeyType
from .mistakes import PolicyMistakes
from .patterns import match_arn, match_glob, match_text, read_pattern
from .principal import Principal

Compare = Callable[[str, Principal], bool]
Read = Callable[["Given"], Compare]

_ARN_COLONS = 5


class Given(NamedTuple):
    """Holds one value of a condition as the policy has it.

    where: its place in the policy
    version: the version of the policy
    """

    text: str
    where: str
    mistakes: PolicyMistakes
    version: str

    def reject(self, problem: str, cure: str) -> None:
        self.mistakes.note(self.where, f"{self.text!r} {problem}", cure)


class Operator(NamedTuple):
    """Describes one operator.

    types: the types of keys that it applies to
    read: makes the comparison with one value
    is_negated: the condition is met if no value matches
    """

    types: frozenset[KeyType]
    read: Read
    is_negated: bool = False


def _never(_: str, __: Principal) -> bool:
    return False


def _read_text(given: Given) -> Compare:
    return match_text(read_pattern(given.text, given.where, given.mistakes, version=given.version))


def _read_text_without_case(given: Given) -> Compare:
    return match_text(read_pattern(given.text, given.where, given.mistakes, version=given.version), ignore_case=True)


def _read_glob(given: Given) -> Compare:
    return match_glob(read_pattern(given.text, given.where, given.mistakes, version=given.version))


def _read_arn(given: Given) -> Compare:
    pattern = read_pattern(given.text, given.where, given.mistakes, version=given.version)
    if not pattern.has_variables and (not given.text.startswith("arn:") or given.text.count(":") < _ARN_COLONS):
        given.reject("is no ARN", "Write six parts, as in arn:aws:iam::111122223333:user/*.")
        return _never
    return match_arn(pattern)


def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _read_network(given: Given) -> Compare:
    try:
        network = ip_network(given.text, strict=False)
    except ValueError:
        given.reject("is no network", "Write an address or a CIDR block, as in 192.0.2.0/24.")
        return _never
    is_version_6 = isinstance(network, IPv6Network)

    @lru_cache(1024)
    def has(text: str) -> bool:
        address = _parse_address(text)
        return address is not None and isinstance(address, IPv6Address) is is_version_6 and address in network

    return lambda text, _: has(text)


def _parse_date(text: str) -> float | None:
    """Returns the time of a text in seconds since the epoch; None where it names no time."""
    try:
        return float(text) if text.isascii() and text.isdecimal() else _find_seconds(datetime.fromisoformat(text))
    except ValueError:
        return None


def _find_seconds(time: datetime) -> float:
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _date(test: Callable[[float, float], bool]) -> Read:
    def read(given: Given) -> Compare:
        wanted = _parse_date(given.text)
        if wanted is None:
            given.reject("is no time", "Write it as 2026-01-31T12:00:00Z, or in seconds since 1970.")
            return _never
        return lambda text, _: test(float(text), wanted)

    return read


def _read_bool(given: Given) -> Compare:
    wanted = given.text.lower()
    if wanted not in ("true", "false"):
        given.reject("is no boolean", "Write true or false.")
    return lambda text, _: text == wanted


_TEXTS = frozenset({KeyType.TEXT, KeyType.ARN, KeyType.ADDRESS, KeyType.BOOL})
_DATES = frozenset({KeyType.DATE})
_ARNS = frozenset({KeyType.ARN})
_ADDRESSES = frozenset({KeyType.ADDRESS})
_ORDERS: dict[str, tuple[Callable[[float, float], bool], bool]] = {
    "Equals": (operator.eq, False),
    "NotEquals": (operator.eq, True),
    "LessThan": (operator.lt, False),
    "LessThanEquals": (operator.le, False),
    "GreaterThan": (operator.gt, False),
    "GreaterThanEquals": (operator.ge, False),
}

OPERATORS: dict[str, Operator] = {
    "StringEquals": Operator(_TEXTS, _read_text),
    "StringNotEquals": Operator(_TEXTS, _read_text, is_negated=True),
    "StringEqualsIgnoreCase": Operator(_TEXTS, _read_text_without_case),
    "StringNotEqualsIgnoreCase": Operator(_TEXTS, _read_text_without_case, is_negated=True),
    "StringLike": Operator(_TEXTS, _read_glob),
    "StringNotLike": Operator(_TEXTS, _read_glob, is_negated=True),
    "ArnEquals": Operator(_ARNS, _read_arn),
    "ArnNotEquals": Operator(_ARNS, _read_arn, is_negated=True),
    "ArnLike": Operator(_ARNS, _read_arn),
    "ArnNotLike": Operator(_ARNS, _read_arn, is_negated=True),
    "IpAddress": Operator(_ADDRESSES, _read_network),
    "NotIpAddress": Operator(_ADDRESSES, _read_network, is_negated=True),
    "Bool": Operator(frozenset({KeyType.BOOL}), _read_bool),
    **{
        f"{family}{name}": Operator(_DATES, _date(test), is_negated)
        for family in ("Date", "Numeric")
        for name, (test, is_negated) in _ORDERS.items()
    },
}
"""Return the operator of a name without prefix and suffix. `Null` has a rule of its own."""
