"""Describes episodes of refusals by the refusals that were kept of them: caller, exhausted limit, and who used it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...policy.limits import Limits
from .episodes import SAMPLE_SECONDS, Episode

_DETAILS = (
    "status",
    "error",
    "limit",
    "in_use",
    "ceiling",
    "held",
    "occupied_by",
    "others",
    "limit_bytes",
    "size_bytes",
    "caller",
    "request_id",
)
_OF_ALL_FUNCTIONS = frozenset({"unreserved_concurrent_executions", "requests_per_second"})
"""Limits of a whole account."""
_OF_ANOTHER_FUNCTION = dict.fromkeys(("caller", "request_id"))


class RefusalSamples:
    """Finds the newest kept refusal of an episode.

    refusals: the documents of `/refusals`, the newest first
    """

    def __init__(self, refusals: Iterable[dict[str, Any]], limits: Limits) -> None:
        self._limits = limits
        self._by_key: dict[tuple[object, ...], list[dict[str, Any]]] = {}
        for refusal in refusals:
            for key in self._list_keys(refusal):
                self._by_key.setdefault(key, []).append(refusal)

    def _list_keys(self, refusal: dict[str, Any]) -> Iterator[tuple[object, ...]]:
        account, name, reason = refusal["account"], refusal["function"], refusal["reason"]
        label = self._limits.of(account).plan(name).label if account is not None and name is not None else None
        if reason is not None:
            yield account, label, reason
            if refusal.get("limit") in _OF_ALL_FUNCTIONS:
                yield account, reason
        elif refusal["injected"]:
            yield account, label, refusal["error"]
        else:
            yield None, None, refusal["error"]

    def describe(self, episode: Episode) -> dict[str, Any]:
        """Describes an episode. Of refusals by a pool, another function's refusal has the same users of the limit."""
        own = self._find(episode, (episode.account, episode.label, episode.reason))
        sample = own or self._find(episode, (episode.account, episode.reason)) or {}
        account, function = episode.account, episode.label
        if own is not None and account is None:
            account, function = own["account"], own["function"]
        return {
            "account": account,
            "function": function,
            "example": own["function"] if own is not None else None,
            "reason": episode.reason,
            "is_throttle": episode.account is not None and not episode.is_injected,
            "is_switched_off": account is not None
            and function is not None
            and self._limits.of(account).is_switched_off(function),
            "injected": episode.is_injected or bool(own and own["injected"]),
            "count": episode.count,
            "per_second": float(f"{episode.per_second:.2g}"),
            "first_at": round(episode.first_at, 3),
            "last_at": round(episode.last_at, 3),
            "is_over": episode.is_over,
            **{name: sample[name] for name in _DETAILS if name in sample},
            **({} if own is not None else _OF_ANOTHER_FUNCTION),
        }

    def _find(self, episode: Episode, key: tuple[object, ...]) -> dict[str, Any] | None:
        first, last = episode.first_at - SAMPLE_SECONDS, episode.last_at + SAMPLE_SECONDS
        kept = self._by_key.get(key, ())
        return next((refusal for refusal in kept if first <= refusal["at"] <= last), None)
