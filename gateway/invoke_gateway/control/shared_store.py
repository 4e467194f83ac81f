"""Keeps the control state in the store of the shared counters, where all gateways read and change it.

A change replaces the document of one account, unless another gateway was first: then it is made again of the newer
document. Gateways that have no calls read the revisions every 0.4 s; calls learn of a change at once, because the store
admits none by older limits. The last documents stay here, and are written back to a store that has lost them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from ..background import BackgroundTask, BackgroundTasks
from ..policy.control.errors import ControlRefusal
from ..policy.control.state import ControlDocument, ControlState, FunctionControl
from ..store.errors import StoreUnavailable
from .base import Change, ControlStoreError
from .copy_file import CopyFile
from .store import MemoryControlStore

log = logging.getLogger("invoke_gateway")

FORMAT = 1

NOTHING_KEPT = ControlDocument()

_POLL_SECONDS = 0.4
_RACES = 100  # changes that other gateways may make between our reading and our writing


class SharedDocuments(Protocol):
    """Reads and changes documents in the store. Its methods raise `StoreUnavailable`.

    on_stale: called when calls wait for newer limits
    """

    on_stale: Callable[[], None]
    refuse_pending: Callable[[str], None]

    @property
    def accounts(self) -> list[str]: ...

    async def read_revisions(self, accounts: Iterable[str]) -> dict[str, str]: ...

    async def read(self, account: str) -> ControlDocument: ...

    async def replace(self, account: str, known: ControlDocument, document: str) -> ControlDocument: ...

    async def restore(self, account: str, kept: ControlDocument) -> ControlDocument: ...

    def keep(self, account: str, kept: ControlDocument) -> None: ...

    def confirm(self, account: str, revision: str) -> None: ...


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    """Holds the members of a document."""

    format: int
    functions: Mapping[str, FunctionControl]


class _DocumentFormat(msgspec.Struct):
    """Holds the member that every format has."""

    format: int


class UnreadableDocument(Exception):
    """Reports a document that this gateway cannot read. The text has the cause and the action."""


def encode_functions(functions: Mapping[str, FunctionControl]) -> str:
    """Returns the document of one account."""
    return msgspec.json.encode(_Content(FORMAT, functions)).decode()


def decode_functions(document: str) -> Mapping[str, FunctionControl]:
    """Returns what a document has set. Raises `UnreadableDocument`."""
    if not document:
        return {}
    try:
        found = msgspec.json.decode(document, type=_DocumentFormat).format
        if found != FORMAT:
            raise UnreadableDocument(f"has format {found}, and this gateway reads format {FORMAT}. Update this gateway")
        return msgspec.json.decode(document, type=_Content).functions
    except msgspec.DecodeError as error:
        raise UnreadableDocument(f"is damaged ({error}). Set the limits again after deleting its key") from error


class SharedControlStore(MemoryControlStore):
    """Keeps the state in the store of the shared counters.

    where: the store's address without credentials
    copy: the file of a copy, where the store keeps nothing on the disk
    """

    def __init__(
        self, documents: SharedDocuments, where: str, tasks: BackgroundTasks, copy: CopyFile | None = None
    ) -> None:
        super().__init__(where)
        self._copy = copy
        self._is_starting = True
        self._documents = documents
        self._tasks = tasks
        self._kept: dict[str, ControlDocument] = {}
        self._unreadable: dict[str, str] = {}
        self._bell = asyncio.Event()
        self._watching: BackgroundTask | None = None

    async def start(self) -> None:
        """Reads the documents, and the copy before. An unavailable store fails no start: its calls wait for it, too.
        Raises `CannotOpenControl` for a damaged copy."""
        self._documents.on_stale = self._bell.set
        if self._copy is not None:
            self._adopt_copy(await asyncio.to_thread(self._copy.read))
        try:
            await self._read_changes()
        except StoreUnavailable as error:
            log.warning(
                "The control state at %s cannot be read (%s). Until the store replies the limits are those of the "
                "settings. Check the store.",
                self.where,
                error,
            )
        self._is_starting = False
        self._watching = self._tasks.start(self._keep_watching, "control state of the shared counters")

    def _adopt_copy(self, copy: ControlState) -> None:
        """Keeps the documents of a copy: a store that has none gets them. A file of one process has no revisions."""
        for account in {*copy.accounts, *copy.revisions}:
            revision = copy.revisions.get(account, f"{copy.version}:file")
            self._keep(account, ControlDocument(revision, encode_functions(copy.functions(account))))

    async def refresh(self) -> None:
        """Reads what other gateways have changed. Without a reply the last state stays."""
        with contextlib.suppress(StoreUnavailable):
            await self._read_changes()

    async def close(self) -> None:
        if self._watching is not None:
            await self._watching.close()
        await super().close()

    async def _keep_watching(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._bell.wait()
            self._bell.clear()
            await self.refresh()

    async def _read_changes(self) -> None:
        async with self._changing:
            before = self._state
            try:
                await self._read_newer()
            finally:
                if self._state is not before:
                    await self.put_in_force(self._state)
            for account, kept in self._kept.items():
                self._documents.confirm(account, kept.revision)

    async def _read_newer(self) -> None:
        """Reads the documents of other revisions than are known. A node of a cluster that is unavailable keeps no other
        account from being read."""
        failure: StoreUnavailable | None = None
        for account, revision in (await self._documents.read_revisions(self._documents.accounts)).items():
            known = self._known(account)
            if revision == known.revision:
                continue
            try:
                if ControlDocument(revision).number < known.number:
                    stored = await self._documents.restore(account, known)
                    self._log_restored(account, known, stored)
                else:
                    stored = await self._documents.read(account)
            except StoreUnavailable as error:
                failure = error
                continue
            self._keep(account, stored)
        if failure is not None:
            raise failure

    async def _change(self, make: Change) -> ControlState | ControlRefusal:
        async with self._changing:
            for _ in range(_RACES):
                before = self._state
                made = make(before)
                if isinstance(made, ControlRefusal) or made is before:
                    return made
                try:
                    is_made = await self._replace(made)
                except StoreUnavailable as error:
                    raise ControlStoreError(
                        f"The shared counters at {self.where} are unavailable: {error}. Check the store, and try again."
                    ) from error
                finally:
                    if self._state is not before:
                        await self.put_in_force(self._state)
                if is_made:
                    await self._store(self._state)
                    return self._state
        raise ControlStoreError(f"Other gateways change {self.where} all the time. Try again.")

    async def _store(self, state: ControlState) -> None:
        if self._copy is not None:
            await asyncio.to_thread(self._copy.write, state)

    async def _replace(self, made: ControlState) -> bool:
        """Writes what differs, account by account, as they may lie on different servers. Returns False where another
        gateway was first. Where one cannot be written, those before are written back."""
        before, written = self._state, list[str]()
        changed = [
            name for name in {*made.accounts, *before.accounts} if made.functions(name) != before.functions(name)
        ]
        for account in changed:
            if account in self._unreadable:
                raise ControlStoreError(self._unreadable[account])
        for account in changed:
            try:
                is_written = await self._write(account, made)
            except StoreUnavailable as error:
                left = await self._write_back(written, before)
                if not left:
                    raise
                raise ControlStoreError(
                    f"The shared counters at {self.where} became unavailable: {error}. The values of account "
                    f"{', '.join(left)} are set, and those of {account} perhaps. Check the store, and try again."
                ) from error
            if not is_written:
                await self._write_back(written, before)
                return False
            written.append(account)
        return True

    async def _write(self, account: str, state: ControlState) -> bool:
        """Replaces the document of one account. Returns False where another gateway was first."""
        document = encode_functions(state.functions(account))
        stored = await self._documents.replace(account, self._known(account), document)
        self._keep(account, stored)
        return stored.document == document

    async def _write_back(self, written: list[str], before: ControlState) -> list[str]:
        """Writes the earlier values of accounts. Returns those that keep the new ones."""
        left = []
        for account in written:
            try:
                if not await self._write(account, before):
                    left.append(account)
            except StoreUnavailable:
                left.append(account)
        return left

    def _known(self, account: str) -> ControlDocument:
        return self._kept.get(account, NOTHING_KEPT)

    def _keep(self, account: str, stored: ControlDocument) -> None:
        """Makes a document of the store the one of the state. Calls of an account whose document cannot be read are
        decided as while the store is unavailable."""
        try:
            functions = decode_functions(stored.document)
        except UnreadableDocument as error:
            self._note_unreadable(account, f"The control state of account {account} at {self.where} {error}.")
            return
        self._unreadable.pop(account, None)
        self._kept[account] = stored
        self._documents.keep(account, stored)
        accounts = {**self._state.accounts, account: functions}
        if not functions:
            del accounts[account]
        revisions = {account: kept.revision for account, kept in self._kept.items()}
        self._state = ControlState(sum(kept.number for kept in self._kept.values()), accounts, revisions)

    def _note_unreadable(self, account: str, problem: str) -> None:
        if self._unreadable.get(account) != problem:
            self._unreadable[account] = problem
            log.error("%s", problem)
        self._documents.refuse_pending(account)

    def _log_restored(self, account: str, known: ControlDocument, stored: ControlDocument) -> None:
        if self._is_starting:
            return
        if stored.revision == known.revision:
            log.warning(
                "The store at %s has lost the control state of account %s. It was written back.", self.where, account
            )
        elif stored.number < known.number:
            log.warning(
                "The store at %s has lost %d changes of the control state of account %s, and this gateway was too late "
                "to write them back. Set those limits again.",
                self.where,
                known.number - stored.number,
                account,
            )
