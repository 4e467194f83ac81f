"""Sets many values in one change, by the operations themselves, and drops all values of a function.

The operations run one by one on a copy of the state. If all succeed, the copy becomes the state. So a document is set
whole or not at all, and each of its mistakes is reported. (A shared store that fails in the middle: `shared_store`.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..invocation import ANONYMOUS, Function
from ..policy.arn import make_prefix
from ..policy.control.errors import ControlRefusal
from ..policy.control.paths import ControlOperation, ControlTarget
from ..policy.control.state import NOTHING, ControlState, FunctionControl
from .base import Change, ControlOperations, ControlRequest, ControlStore, ControlStoreError
from .documents import encode, read_object
from .export import Document, Export, describe_function
from .import_steps import ImportStep, Mistake, read_grant, read_steps
from .store import MemoryControlStore

_ATTEMPTS = 5  # at a state that others change meanwhile


class Mistakes(Exception):
    """Reports a document of which nothing is set."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__(mistakes)
        self.mistakes = mistakes


class NothingSet(Exception):
    """Reports a function for which the operations have set nothing."""


class BulkOperations:
    """Sets and drops many values.

    make_operations: makes the operations on a store
    find_account: returns the account of a name in a document; None: no settings name it
    make_headers: makes the headers with which the backend is asked about functions of an account
    default_account: the account whose functions need no ARN
    """

    def __init__(
        self,
        store: ControlStore,
        export: Export,
        *,
        make_operations: Callable[[ControlStore], ControlOperations],
        find_account: Callable[[str], str | None],
        make_headers: Callable[[str], Mapping[bytes, bytes]],
        region: str,
        default_account: str,
    ) -> None:
        self._store = store
        self._export = export
        self._make_operations = make_operations
        self._find_account = find_account
        self._make_headers = make_headers
        self._region = region
        self._default_account = default_account

    async def describe(self, shown: str | None = None) -> Document:
        """Describes all that is set, as `set_all` reads it and as settings; with a name only of that account."""
        await self._store.refresh()
        state = self._store.state
        if shown is not None:
            account = self._find_account(shown) or shown
            functions = state.functions(account)
            state = ControlState(state.version, {account: functions} if functions else {})
        return {"store": self._store.where, "version": state.version, **self._export.describe(state)}

    async def set_all(self, document: Mapping[str, Any]) -> Document:
        """Sets all values of a document, and returns what has changed. Raises `Mistakes` and `ControlStoreError`."""
        mistakes: list[Mistake] = []
        steps = list(read_steps(document, self._find_account, mistakes))
        await self._store.refresh()
        for _ in range(_ATTEMPTS):
            state = self._store.state
            made = await self._run(steps, state, [*mistakes])
            if made.accounts == state.accounts:
                return {"changed": [], "version": state.version}
            if await self._replace(state, made):
                return {"changed": list(self._list_changed(state, made)), "version": self._store.state.version}
        raise ControlStoreError("Others change the control state all the time. Try again.")

    async def _run(self, steps: list[ImportStep], state: ControlState, mistakes: list[Mistake]) -> ControlState:
        """Returns the state after all steps. Raises `Mistakes`."""
        staged = MemoryControlStore("a copy", state)
        operations = self._make_operations(staged)
        for step in sorted(steps, key=lambda step: _rank(step, state)):
            if _is_provisioned(step, state):  # a Put would allocate it again
                continue
            if step.operation is ControlOperation.ADD_PERMISSION:
                if _is_allowed(step, state):
                    continue
                # A statement of this id is replaced. Without one this is refused, which changes nothing.
                await operations.answer(self._make_request(_as_removal(step)))
            answer = await operations.answer(self._make_request(step))
            if answer.code is not None:
                document = read_object(answer.body)
                text = str(document.get("message") or document.get("Message") or "")
                mistakes.append(Mistake(step.key, f"{answer.code}: {text}"))
        await staged.close()
        if mistakes:
            raise Mistakes(sorted(mistakes))
        return staged.state

    def _make_request(self, step: ImportStep) -> ControlRequest:
        name = step.arn or step.name
        if step.arn is None and step.account != self._default_account:
            name = make_prefix(Function(name), self._region, step.account) + name
        query = {"Qualifier": step.qualifier} if step.qualifier is not None else {}
        statement = str(step.body.get("StatementId", ""))
        target = ControlTarget(step.operation, name, query, statement=statement)
        return ControlRequest(target, ANONYMOUS, self._make_headers(step.account), encode(step.body))

    async def _replace(self, expected: ControlState, made: ControlState) -> bool:
        """Replaces the state, unless another has changed it; then returns False."""
        change: Change = lambda now: (  # noqa: E731 (a store may call it again)
            ControlState(now.version + 1, made.accounts, now.revisions) if now.version == expected.version else now
        )
        result = await self._store.change(change)
        return not isinstance(result, ControlRefusal) and result.accounts == made.accounts

    def _list_changed(self, before: ControlState, after: ControlState) -> Iterator[Document]:
        for account in sorted(after.accounts):
            for name, function in sorted(after.functions(account).items()):
                if function != before.function(account, name):
                    yield {"account": self._export.name_account(account), "function": name}

    async def reset(self, account: str, name: str) -> Document:
        """Drops all values of a function, and returns them. Raises `NothingSet` and `ControlStoreError`."""
        dropped: list[FunctionControl] = []

        def drop(state: ControlState) -> ControlState:
            dropped[:] = [state.function(account, name)]
            return state if dropped == [NOTHING] else state.with_function(account, name, NOTHING)

        await self._store.change(drop)
        if dropped == [NOTHING]:
            raise NothingSet
        return {
            "account": self._export.name_account(account),
            "function": name,
            "dropped": describe_function(dropped[0]),
        }


def _rank(step: ImportStep, state: ControlState) -> int:
    """Returns the place of a step: values that free slots come before those that take them, so that no order of two
    valid values is refused."""
    function = state.function(step.account, step.name)
    if step.operation is ControlOperation.PUT_PROVISIONED:
        config = function.provisioned.get(step.qualifier or "")
        return 0 if config is not None and _is_at_most(step, config.requested) else 3
    if step.operation is ControlOperation.PUT_FUNCTION_CONCURRENCY:
        reserved = function.reserved_concurrent_executions
        return 1 if reserved is not None and _is_at_most(step, reserved) else 2
    return 4


def _is_provisioned(step: ImportStep, state: ControlState) -> bool:
    config = state.function(step.account, step.name).provisioned.get(step.qualifier or "")
    if step.operation is not ControlOperation.PUT_PROVISIONED or config is None:
        return False
    return [config.requested] == list(step.body.values())


def _is_allowed(step: ImportStep, state: ControlState) -> bool:
    """Returns whether the policy of the step's ARN has the same statement."""
    policy = state.function(step.account, step.name).policies.get(step.arn or "")
    if policy is None:
        return False
    return any(body == step.body for body in map(read_grant, policy.statements))


def _as_removal(step: ImportStep) -> ImportStep:
    return step._replace(operation=ControlOperation.REMOVE_PERMISSION)


def _is_at_most(step: ImportStep, slots: int) -> bool:
    (wanted,) = step.body.values()
    return isinstance(wanted, int) and wanted <= slots
