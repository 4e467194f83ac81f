"""Sets many values in one change, by the operations themselves, and drops all values of a function.

The operations run one by one on a copy of the state. If all succeed, the copy becomes the state. So a document is set
whole or not at all, and each of its mistakes is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..invocation import ANONYMOUS, Function
from ..policy.arn import make_prefix
from ..policy.control.errors import ControlRefusal
from ..policy.control.paths import ControlOperation, ControlTarget
from ..policy.control.state import NOTHING, ControlState, FunctionControl
from .base import Change, ControlOperations, ControlRequest, ControlStore, ControlStoreError
from .documents import encode, read_object
from .export import RULES, Document, Export, describe_function
from .parts import LATEST
from .store import MemoryControlStore

_ATTEMPTS = 5  # at a state that others change meanwhile
_NOTES = frozenset({"store", "version", "settings", "comments"})  # what an export has beside its accounts
_KEYS = (
    "reserved_concurrent_executions",
    "recursive_loop",
    *RULES,
    "event_invoke",
    "provisioned",
    "scaling",
)
_MEMBERS = {"maximum_retry_attempts": "MaximumRetryAttempts", "maximum_event_age_seconds": "MaximumEventAgeInSeconds"}
_DESTINATIONS = {"on_success": "OnSuccess", "on_failure": "OnFailure"}
_BOUNDS = {"minimum": "MinExecutionEnvironments", "maximum": "MaxExecutionEnvironments"}


class Mistake(NamedTuple):
    """Holds why a value is not set. `key` names it in the document."""

    key: str
    text: str


class Mistakes(Exception):
    """Reports a document of which nothing is set."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__(mistakes)
        self.mistakes = mistakes


class NothingSet(Exception):
    """Reports a function for which the operations have set nothing."""


class _Step(NamedTuple):
    """Holds one operation, and the key of its values in the document."""

    key: str
    account: str
    name: str
    operation: ControlOperation
    qualifier: str | None
    body: Document


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
        steps = list(_read_steps(document, self._find_account, mistakes))
        await self._store.refresh()
        for _ in range(_ATTEMPTS):
            state = self._store.state
            made = await self._run(steps, state, [*mistakes])
            if made.accounts == state.accounts:
                return {"changed": [], "version": state.version}
            if await self._replace(state, made):
                return {"changed": list(self._list_changed(state, made)), "version": self._store.state.version}
        raise ControlStoreError("Others change the control state all the time. Try again.")

    async def _run(self, steps: list[_Step], state: ControlState, mistakes: list[Mistake]) -> ControlState:
        """Returns the state after all steps. Raises `Mistakes`."""
        staged = MemoryControlStore("a copy", state)
        operations = self._make_operations(staged)
        for step in sorted(steps, key=lambda step: _rank(step, state)):
            if _is_provisioned(step, state):  # a Put would allocate it again
                continue
            answer = await operations.answer(self._make_request(step))
            if answer.code is not None:
                document = read_object(answer.body)
                text = str(document.get("message") or document.get("Message") or "")
                mistakes.append(Mistake(step.key, f"{answer.code}: {text}"))
        await staged.close()
        if mistakes:
            raise Mistakes(sorted(mistakes))
        return staged.state

    def _make_request(self, step: _Step) -> ControlRequest:
        name = step.name
        if step.account != self._default_account:
            name = make_prefix(Function(name), self._region, step.account) + name
        query = {"Qualifier": step.qualifier} if step.qualifier is not None else {}
        target = ControlTarget(step.operation, name, query)
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


def _rank(step: _Step, state: ControlState) -> int:
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


def _is_provisioned(step: _Step, state: ControlState) -> bool:
    config = state.function(step.account, step.name).provisioned.get(step.qualifier or "")
    if step.operation is not ControlOperation.PUT_PROVISIONED or config is None:
        return False
    return [config.requested] == list(step.body.values())


def _is_at_most(step: _Step, slots: int) -> bool:
    (wanted,) = step.body.values()
    return isinstance(wanted, int) and wanted <= slots


def _read_steps(
    document: Mapping[str, Any], find_account: Callable[[str], str | None], mistakes: list[Mistake]
) -> Iterator[_Step]:
    """Returns the operations of a document, and adds what cannot be set by any to `mistakes`."""
    accounts = _read_mapping(document, "accounts", "", mistakes, others=_NOTES)
    for shown, value in accounts.items():
        account = find_account(str(shown))
        where = f"accounts.{shown}"
        if account is None:
            mistakes.append(Mistake(where, "the settings name no such account. Add it to the settings."))
            continue
        for name, values in _read_mapping(value, "functions", where, mistakes).items():
            place = f"{where}.functions.{name}"
            if not isinstance(values, Mapping):
                mistakes.append(Mistake(place, f"is no mapping. Give it some of {', '.join(_KEYS)}."))
            elif ":" in str(name):
                mistakes.append(Mistake(place, "is no plain name. Put qualifiers under provisioned and event_invoke."))
            else:
                yield from _read_function(account, str(name), values, place, mistakes)


def _read_mapping(
    value: object, key: str, where: str, mistakes: list[Mistake], others: frozenset[str] = frozenset()
) -> Mapping[Any, Any]:
    """Returns the mapping under the one key that a mapping may have."""
    if not isinstance(value, Mapping):
        mistakes.append(Mistake(where or "the document", f"is no mapping. Give it the key {key}."))
        return {}
    for other in value:
        if other != key and other not in others:
            text = "is no value of an operation. Keep it in the settings file."
            mistakes.append(Mistake(f"{where}.{other}".lstrip("."), text))
    below = value.get(key, {})
    if isinstance(below, Mapping):
        return below
    mistakes.append(Mistake(f"{where}.{key}".lstrip("."), "is no mapping."))
    return {}


def _read_function(
    account: str, name: str, values: Mapping[Any, Any], where: str, mistakes: list[Mistake]
) -> Iterator[_Step]:
    for key, value in values.items():
        place = f"{where}.{key}"
        if key == "reserved_concurrent_executions":
            body = {"ReservedConcurrentExecutions": value}
            yield _Step(place, account, name, ControlOperation.PUT_FUNCTION_CONCURRENCY, None, body)
        elif key == "recursive_loop":
            yield _Step(place, account, name, ControlOperation.PUT_RECURSION, None, {"RecursiveLoop": value})
        elif key == "provisioned_concurrent_executions":  # as settings have it
            yield from _read_qualified(account, name, "provisioned", value, place, mistakes)
        elif key not in _KEYS:
            mistakes.append(Mistake(place, "is no value of an operation. Keep it in the settings file."))
        elif key not in RULES:
            yield from _read_qualified(account, name, key, value, place, mistakes)
    rules = {key: value for key, value in values.items() if key in RULES}
    if rules:
        yield _make_rules(account, name, LATEST, rules, where)


def _read_qualified(
    account: str, name: str, key: str, value: object, where: str, mistakes: list[Mistake]
) -> Iterator[_Step]:
    """Returns the operations of a mapping by qualifier."""
    if not isinstance(value, Mapping):
        mistakes.append(Mistake(where, "is no mapping by version or alias."))
        return
    for given, wanted in value.items():
        qualifier, place = str(given), f"{where}.{given}"
        if key == "provisioned":
            slots = wanted.get("slots") if isinstance(wanted, Mapping) else wanted
            body = {"ProvisionedConcurrentExecutions": slots}
            yield _Step(place, account, name, ControlOperation.PUT_PROVISIONED, qualifier, body)
            continue
        known: Mapping[str, str] = _BOUNDS if key == "scaling" else dict.fromkeys(RULES, "")
        if not isinstance(wanted, Mapping) or not known.keys() >= wanted.keys():
            mistakes.append(Mistake(place, f"has keys other than {', '.join(known)}."))
        elif key == "scaling":
            config = {_BOUNDS[bound]: slots for bound, slots in wanted.items()}
            body = {"FunctionScalingConfig": config}
            yield _Step(place, account, name, ControlOperation.PUT_SCALING, qualifier, body)
        else:
            yield _make_rules(account, name, qualifier, wanted, place)


def _make_rules(account: str, name: str, qualifier: str, rules: Mapping[str, Any], where: str) -> _Step:
    body: Document = {_MEMBERS[key]: value for key, value in rules.items() if key in _MEMBERS}
    destinations = {_DESTINATIONS[key]: {"Destination": value} for key, value in rules.items() if key in _DESTINATIONS}
    if destinations:
        body["DestinationConfig"] = destinations
    given = None if qualifier == LATEST else qualifier
    return _Step(where, account, name, ControlOperation.PUT_EVENT_INVOKE, given, body)
