"""Who holds the slots, as far as this process finds out: from its own slots, and from the store where it shares one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ..counters.holders import NoAnswer, Report, accounts_of, report_own
from ..counters.memory import MemoryCounters
from .documents import MOST_REPEATED
from .in_flight import NotReleased, Question

_MOST_NAMED = 20  # gateways in a text
_FEWEST_CHARACTERS = 4  # of the beginning of a name: `g-` and two more


class Inquiry(Protocol):
    """What the store is asked. Both raise `NoAnswer`."""

    async def report(self, accounts: Iterable[str], function: str | None) -> list[Report]: ...

    async def forget(self, dead: Iterable[tuple[str, str]], *, force: bool) -> list[int | None]: ...


class OwnReports:
    """What this process alone knows: its counters are in memory. `find_account` says whose slots an account has."""

    def __init__(self, counters: MemoryCounters, *, find_account: Callable[[str], str]) -> None:
        self._counters = counters
        self._find_account = find_account

    async def report(self, question: Question) -> tuple[list[Report], str | None]:
        return self.report_here(question), None

    def report_here(self, question: Question) -> list[Report]:
        """Return the slots that this process holds now."""
        accounts = [self._find_account(question.account)] if question.account else accounts_of(self._counters)
        return report_own(self._counters, None, accounts, question.function, question.most)

    async def release(self, gateway: str, account: str | None, *, force: bool) -> list[Report]:
        raise NotReleased(
            "This gateway counts in its own memory, so it holds nothing for another one: what a gateway held is gone "
            "with it. Ask a gateway with shared counters (docs/shared-counters.md).",
            409,
        )


class SharedReports:
    """What all gateways on one store hold. `accounts` are those that this one, `gateway`, counts."""

    def __init__(
        self,
        counters: MemoryCounters,
        inquiry: Inquiry,
        *,
        gateway: str,
        accounts: Callable[[], list[str]],
        find_account: Callable[[str], str],
    ) -> None:
        self._counters = counters
        self._inquiry = inquiry
        self._gateway = gateway
        self._accounts = accounts
        self._find_account = find_account

    async def report(self, question: Question) -> tuple[list[Report], str | None]:
        accounts = self._choose(question.account)
        stored, trouble = [], None
        try:
            stored = await self._inquiry.report(accounts, question.function)
        except NoAnswer as error:
            trouble = f"The shared counters do not answer ({error}): only what this gateway holds is known."
        return [*stored, *self.report_here(question)], trouble

    def report_here(self, question: Question) -> list[Report]:
        """Return the slots that this process holds now, without a round trip to the store."""
        accounts = self._choose(question.account)
        return report_own(self._counters, self._gateway, accounts, question.function, question.most)

    async def release(self, gateway: str, account: str | None, *, force: bool) -> list[Report]:
        try:
            known = await self._inquiry.report(self._choose(account), None)
            gateway = _complete(gateway, known)
            dead = [report for report in known if _is_meant(gateway, report)]
            _check(gateway, dead, known, force=force)
            slots = await self._inquiry.forget([(report.gateway or "", report.account) for report in dead], force=force)
        except NoAnswer as error:
            raise NotReleased(
                f"The shared counters do not answer ({error}), so it is not known what was given back. Try again.", 503
            ) from None
        if None in slots:
            names = _join({report.gateway for report, given in zip(dead, slots, strict=True) if given is None})
            raise NotReleased(
                f"{names} was heard just now and keeps its slots; what others of {gateway[:MOST_REPEATED]} held was "
                "given back. Look again with `invoke-gateway in-flight`.",
                409,
            )
        return [_with_slots(report, given or 0) for report, given in zip(dead, slots, strict=True)]

    def _choose(self, account: str | None) -> list[str]:
        return [self._find_account(account)] if account else self._accounts()


def _complete(gateway: str, known: list[Report]) -> str:
    """The name of the one gateway that begins so; what was given where there is none, or one of exactly this name.
    Raises `NotReleased` where there are several."""
    names = {(report.gateway or "").partition(".")[0] for report in known}
    if gateway in names or "." in gateway or len(gateway) < _FEWEST_CHARACTERS:
        return gateway
    begun = {name for name in names if name.startswith(gateway)}
    if len(begun) > 1:
        raise NotReleased(f"{gateway[:MOST_REPEATED]!r} is the beginning of {_join(begun)}. Say which.", 409)
    return next(iter(begun), gateway)


def _is_meant(gateway: str, report: Report) -> bool:
    """A gateway's name also means its workers."""
    return report.gateway == gateway or (report.gateway or "").startswith(f"{gateway}.")


def _check(gateway: str, dead: list[Report], known: list[Report], *, force: bool) -> None:
    """Raises `NotReleased` where there is no such gateway, or it lives."""
    shown = gateway[:MOST_REPEATED]
    if not dead:
        raise NotReleased(
            f"No gateway {shown!r} holds anything: its slots have gone back, or it never was. Those known: "
            f"{_join({report.gateway for report in known}) or 'none'}.",
            404,
        )
    living = {report.gateway for report in dead if report.is_alive}
    if living and not force:
        others = _join({report.gateway for report in dead} - living)
        hint = f" Not heard any more: {others}; release those by their own names." if others else ""
        raise NotReleased(
            f"{_join(living)} lives: it was heard within half a lease.{hint} With --force (force=true) its slots are "
            "given back all the same, and others may take them before it counts its running calls again.",
            409,
        )


def _with_slots(report: Report, slots: int) -> Report:
    return Report(report.gateway, report.account, slots, [], is_alive=report.is_alive)


def _join(gateways: Iterable[str | None]) -> str:
    names = sorted(name or "" for name in gateways)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
