"""Reads and releases the slots of all gateways, on connections of its own, so that no call waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ...policy.counter_names import account_counter, counter_of
from ...store.connection import StoreConnection
from ...store.errors import StoreUnavailable, describe_failure
from ...store.script import Script
from ..holders import NoAnswer, Report, Row
from .connecting import Redirect
from .messages import encode_forget
from .script import FORGET, HOLDERS, base_key

_decode = msgspec.msgpack.decode
_ALIVE = 3


class StoreAdmin:
    """Serves operators. Its methods raise `NoAnswer`.

    find_server: returns what makes connections to the server that counts an account.
    keep_seconds: time after its lease for which a dead gateway's slots stay taken.
    """

    def __init__(
        self,
        find_server: Callable[[str], Callable[[], StoreConnection]],
        *,
        lease_seconds: float,
        keep_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._find_server = find_server
        self._lease_ms = int(lease_seconds * 1000)
        self._keep_ms = int(keep_seconds * 1000)
        # It connects first, and no call waits for it.
        self._timeout = max(1.0, 2 * timeout_seconds)
        self._is_free = asyncio.Lock()

    async def report(self, accounts: Iterable[str], function: str | None) -> list[Report]:
        """Returns what each gateway holds of each account, or of one of its functions."""
        questions = [(account, msgspec.msgpack.encode((counter_of(account, function),))) for account in accounts]
        replies = await self._ask(HOLDERS, questions)
        return [
            self._read(account, function, gateway)
            for (account, _), (_, gateways) in zip(questions, replies, strict=True)
            for gateway in gateways
        ]

    async def release_gateway(self, dead: Iterable[tuple[str, str]], *, force: bool) -> list[int | None]:
        """Releases what each of `dead`, gateway and account, holds. Returns the number of slots of each; None for one
        that has renewed its lease meanwhile, unless with `force`."""
        lease_ms = 0 if force else self._lease_ms
        replies = await self._ask(
            FORGET,
            [
                (account, encode_forget(gateway, account_counter(account), lease_ms, self._keep_ms))
                for gateway, account in dead
            ],
        )
        return [None if status == _ALIVE else slots for status, slots in replies]

    def _read(self, account: str, function: str | None, gateway: tuple[str, int, int, int, str]) -> Report:
        id, left_ms, slots, age_ms, listed = gateway
        seconds = max(0, age_ms) / 1000
        rows: list[Row] = msgspec.json.decode(listed) if age_ms >= 0 else []
        return Report(
            id,
            account,
            slots,
            [
                row | {"age_seconds": round(row["age_seconds"] + seconds, 3)}
                for row in rows
                if function is None or row["function"] == function
            ],
            seconds if age_ms >= 0 else None,
            max(0.0, left_ms / 1000),
            left_ms - self._keep_ms > self._lease_ms / 2,
        )

    async def _ask(self, script: Script, questions: list[tuple[str, bytes]]) -> list[Any]:
        """Returns the decoded reply to each question, which is an account and the script's argument."""
        by_server: dict[Callable[[], StoreConnection], list[int]] = {}
        for index, (account, _) in enumerate(questions):
            by_server.setdefault(self._find_server(account), []).append(index)
        replies: list[Any] = [None] * len(questions)
        try:
            async with asyncio.timeout(self._timeout), self._is_free:
                for make_link, indices in by_server.items():
                    asked = [questions[index] for index in indices]
                    for index, reply in zip(indices, await _ask_one(make_link, script, asked), strict=True):
                        replies[index] = _decode(reply)
        except (StoreUnavailable, TimeoutError) as error:
            raise NoAnswer(describe_failure(error, self._timeout)) from None
        return replies

    def __repr__(self) -> str:
        return f"<Inquiry within {self._timeout:g} s>"


async def _ask_one(
    make_link: Callable[[], StoreConnection], script: Script, questions: list[tuple[str, bytes]]
) -> list[bytes]:
    link = make_link()
    try:
        await link.open()
        replies = await link.call(
            ("EVALSHA", script.sha, 1, base_key(account), argument) for account, argument in questions
        )
    finally:
        await link.close()
    if any(isinstance(reply, Redirect) for reply in replies):
        raise StoreUnavailable("an account is moving to another node of the cluster; try again")
    return replies
