"""Reports the holders of slots: those of this process, and those in the store that gateways share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ..counters.base import Counters
from ..counters.holders import NoAnswer, Report, accounts_of, report_own
from .in_flight import InFlightQuery, NotReleased
from .json_documents import MOST_REPEATED

_MOST_NAMED = 20  # gateways in a text
_FEWEST_CHARACTERS = 4  # of the beginning of a name: `g-` and two more


class HolderStore(Protocol):
    """Reads holders from the store, and releases dead ones. Both raise `NoAnswer`."""

    async def report(self, accounts: Iterable[str], function: str | None) -> list[Report]: ...

    async def release_gateway(self, dead: Iterable[tuple[str, str]], *, force: bool) -> list[int | None]: ...


class LocalHolders:
    """Reports this process alone, whose counters are in memory. `find_account` names the account that counts."""

    def __init__(self, counters: Counters, *, find_account: Callable[[str], str]) -> None:
        self._counters = counters
        self._find_account = find_account

    async def report(self, query: InFlightQuery) -> tuple[list[Report], str | None]:
        return self.report_here(query), None

    def report_here(self, query: InFlightQuery) -> list[Report]:
        """Returns the slots that this process holds now."""
        accounts = [self._find_account(query.account)] if query.account else accounts_of(self._counters)
        return report_own(self._counters, None, accounts, query.function, query.most)

    async def release(self, gateway: str, account: str | None, *, force: bool) -> list[Report]:
        raise NotReleased(
            "This gateway counts in its own memory, so it has no slots of other gateways. Send the request to a "
            "gateway with shared counters (docs/guides/shared-counters.md).",
            409,
        )


class SharedHolders:
    """Reports all gateways on one store. `accounts` are those that this process, `gateway`, counts."""

    def __init__(
        self,
        counters: Counters,
        store_admin: HolderStore,
        *,
        gateway: str,
        accounts: Callable[[], list[str]],
        find_account: Callable[[str], str],
    ) -> None:
        self._counters = counters
        self._store_admin = store_admin
        self._gateway = gateway
        self._accounts = accounts
        self._find_account = find_account

    async def report(self, query: InFlightQuery) -> tuple[list[Report], str | None]:
        accounts = self._choose(query.account)
        stored, trouble = [], None
        try:
            stored = await self._store_admin.report(accounts, query.function)
        except NoAnswer as error:
            trouble = f"The shared counters are unavailable ({error}). Only the slots of this gateway are listed."
        return [*stored, *self.report_here(query)], trouble

    def report_here(self, query: InFlightQuery) -> list[Report]:
        """Returns the slots that this process holds now, without a round trip to the store."""
        accounts = self._choose(query.account)
        return report_own(self._counters, self._gateway, accounts, query.function, query.most)

    async def release(self, gateway: str, account: str | None, *, force: bool) -> list[Report]:
        try:
            known = await self._store_admin.report(self._choose(account), None)
            gateway = _complete(gateway, known)
            dead = [report for report in known if _is_meant(gateway, report)]
            _check(gateway, dead, known, force=force)
            slots = await self._store_admin.release_gateway(
                [(report.gateway or "", report.account) for report in dead], force=force
            )
        except NoAnswer as error:
            raise NotReleased(
                f"The shared counters are unavailable ({error}). Some slots may have been released. Try again.", 503
            ) from None
        if None in slots:
            names = _join({report.gateway for report, given in zip(dead, slots, strict=True) if given is None})
            raise NotReleased(
                f"{names} has just renewed its lease and keeps its slots. The other slots of {gateway[:MOST_REPEATED]} "
                "were released. List them again with `invoke-gateway in-flight`.",
                409,
            )
        return [_with_slots(report, given or 0) for report, given in zip(dead, slots, strict=True)]

    def _choose(self, account: str | None) -> list[str]:
        return [self._find_account(account)] if account else self._accounts()


def _complete(gateway: str, known: list[Report]) -> str:
    """Completes the beginning of a gateway's name. Returns `gateway` itself where none matches, or one matches exactly.
    Raises `NotReleased` where several match."""
    names = {(report.gateway or "").partition(".")[0] for report in known}
    if gateway in names or "." in gateway or len(gateway) < _FEWEST_CHARACTERS:
        return gateway
    begun = {name for name in names if name.startswith(gateway)}
    if len(begun) > 1:
        raise NotReleased(
            f"{gateway[:MOST_REPEATED]!r} is the beginning of several names: {_join(begun)}. Send one of them.", 409
        )
    return next(iter(begun), gateway)


def _is_meant(gateway: str, report: Report) -> bool:
    """Matches a gateway's own report, and those of its workers."""
    return report.gateway == gateway or (report.gateway or "").startswith(f"{gateway}.")


def _check(gateway: str, dead: list[Report], known: list[Report], *, force: bool) -> None:
    """Raises `NotReleased` where no gateway matches, or a matching one is alive."""
    shown = gateway[:MOST_REPEATED]
    if not dead:
        raise NotReleased(
            f"No gateway {shown!r} holds slots: they have been released, or it never existed. Known gateways: "
            f"{_join({report.gateway for report in known}) or 'none'}.",
            404,
        )
    living = {report.gateway for report in dead if report.is_alive}
    if living and not force:
        others = _join({report.gateway for report in dead} - living)
        hint = f" Dead: {others}; release those by their own names." if others else ""
        raise NotReleased(
            f"{_join(living)} is alive: it renewed its lease within half a lease.{hint} With --force (force=true) its "
            "slots are released, and other calls may take them before it counts its running calls again.",
            409,
        )


def _with_slots(report: Report, slots: int) -> Report:
    return Report(report.gateway, report.account, slots, [], is_alive=report.is_alive)


def _join(gateways: Iterable[str | None]) -> str:
    names = sorted(name or "" for name in gateways)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
