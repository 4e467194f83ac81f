"""The state that gateways share, on a store in memory that fails and races as the tests want."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from invoke_gateway.background import BackgroundTasks
from invoke_gateway.control.base import ControlStoreError
from invoke_gateway.control.copy_file import CopyFile
from invoke_gateway.control.file_store import encode_state, read_state
from invoke_gateway.control.shared_store import SharedControlStore, decode_functions, encode_functions
from invoke_gateway.policy.control.errors import NOT_KEPT, ControlRefusal
from invoke_gateway.policy.control.state import ControlDocument, ControlState, FunctionControl, FunctionPolicy
from invoke_gateway.store.errors import StoreUnavailable

FIVE = FunctionControl(5)


class Documents:
    """Two accounts of a store. `others`: the changes of other gateways, of which each replace loses a race to one."""

    def __init__(self) -> None:
        self.stored = {"1" * 12: ControlDocument(), "2" * 12: ControlDocument()}
        self.others: list[dict[str, FunctionControl]] = []
        self.is_away = False
        self.failing: list[str] = []  # each replace of these accounts fails
        self.away_after = math.inf  # so many replaces
        self.refused: list[str] = []
        self.confirmed: list[tuple[str, str]] = []
        self.on_stale: Callable[[], None] = list
        self.refuse_pending: Callable[[str], None] = self.refused.append

    @property
    def accounts(self) -> list[str]:
        return list(self.stored)

    def write(self, account: str, document: str, writer: str) -> ControlDocument:
        number = self.stored[account].number + 1
        self.stored[account] = ControlDocument(f"{number}:{writer}", document)
        return self.stored[account]

    def check(self) -> None:
        if self.is_away:
            raise StoreUnavailable("connection refused")

    async def read_revisions(self, accounts: Iterable[str]) -> dict[str, str]:
        self.check()
        return {account: self.stored[account].revision for account in accounts}

    async def read(self, account: str) -> ControlDocument:
        self.check()
        return self.stored[account]

    async def replace(self, account: str, known: ControlDocument, document: str) -> ControlDocument:
        self.is_away = self.is_away or self.away_after <= 0
        self.away_after -= 1
        self.check()
        if account in self.failing:
            raise StoreUnavailable("its node is down")
        if self.others:
            self.write(account, encode_functions(self.others.pop(0)), "other")
        return self.stored[account] if self.stored[account] != known else self.write(account, document, "own")

    async def restore(self, account: str, kept: ControlDocument) -> ControlDocument:
        self.check()
        if not self.stored[account].revision:
            self.stored[account] = kept
        return self.stored[account]

    def keep(self, account: str, kept: ControlDocument) -> None:
        pass

    def confirm(self, account: str, revision: str) -> None:
        self.confirmed.append((account, revision))


ONE, TWO = Documents().accounts


@pytest.fixture
def documents() -> Documents:
    return Documents()


async def open_store(documents: Documents) -> tuple[SharedControlStore, list[ControlState]]:
    store = SharedControlStore(documents, "redis://store", BackgroundTasks())
    adopted: list[ControlState] = []

    async def put_in_force(state: ControlState) -> None:
        adopted.append(state)

    store.put_in_force = put_in_force
    await store.start()
    return store, adopted


def set_five(function: str, account: str = ONE) -> Callable[[ControlState], ControlState]:
    return lambda state: state.with_function(account, function, FIVE)


async def test_a_change_that_loses_races_is_made_of_the_newer_state(documents: Documents) -> None:
    store, adopted = await open_store(documents)
    documents.others = [{"a": FIVE}, {"a": FIVE, "b": FIVE}]
    made = await store.change(set_five("f"))
    assert isinstance(made, ControlState)
    assert set(made.functions(ONE)) == {"a", "b", "f"}
    assert made.revisions == {ONE: "3:own"}
    assert [state.revisions[ONE] for state in adopted] == ["1:other", "2:other", "3:own"]
    await store.close()


async def test_a_change_that_the_newer_state_forbids_is_refused(documents: Documents) -> None:
    store, _ = await open_store(documents)
    documents.others = [{"a": FIVE}]
    refusal = ControlRefusal(NOT_KEPT, text="no")
    made = await store.change(lambda state: refusal if state.functions(ONE) else set_five("f")(state))
    assert made is refusal
    assert set(store.state.functions(ONE)) == {"a"}
    await store.close()


async def test_a_change_without_the_store_fails_with_the_cause_and_changes_nothing(documents: Documents) -> None:
    store, adopted = await open_store(documents)
    documents.is_away = True
    with pytest.raises(ControlStoreError, match="at redis://store are unavailable: connection refused"):
        await store.change(set_five("f"))
    await store.refresh()
    assert (store.state, adopted) == (ControlState(), [])
    documents.is_away = False
    assert (await store.change(set_five("f"))) == store.state
    await store.close()


def set_both(state: ControlState) -> ControlState:
    return set_five("f", TWO)(set_five("f", ONE)(state))


@pytest.mark.parametrize("failing", [ONE, TWO])
async def test_a_change_of_two_accounts_of_which_one_fails_is_taken_back(documents: Documents, failing: str) -> None:
    store, adopted = await open_store(documents)
    await store.change(lambda state: state.with_function(ONE, "g", FIVE))
    documents.failing = [failing]
    with pytest.raises(ControlStoreError, match="are unavailable: its node is down"):
        await store.change(set_both)
    assert store.state.accounts == {ONE: {"g": FIVE}}
    assert adopted[-1].accounts == {ONE: {"g": FIVE}}
    assert '"f"' not in documents.stored[ONE].document + documents.stored[TWO].document
    documents.failing = []
    made = await store.change(set_both)
    assert isinstance(made, ControlState)
    assert made.accounts == {ONE: {"g": FIVE, "f": FIVE}, TWO: {"f": FIVE}}
    await store.close()


async def test_a_store_that_fails_in_the_middle_leaves_an_error_that_names_what_is_set(documents: Documents) -> None:
    store, adopted = await open_store(documents)
    documents.away_after = 1
    with pytest.raises(ControlStoreError) as raised:
        await store.change(set_both)
    (is_set,) = store.state.accounts
    other = TWO if is_set == ONE else ONE
    assert f"The values of account {is_set} are set, and those of {other} perhaps." in str(raised.value)
    assert adopted[-1] == store.state, "what is set is in force"
    await store.close()


async def test_a_race_that_is_lost_for_one_account_keeps_nothing_of_the_others(documents: Documents) -> None:
    store, _ = await open_store(documents)
    first: list[str] = []
    replace = documents.replace

    async def lose_the_second(account: str, known: ControlDocument, document: str) -> ControlDocument:
        first.append(account)
        if len(first) == 2:
            documents.others = [{"other": FIVE}]
        return await replace(account, known, document)

    documents.replace = lose_the_second  # type: ignore[method-assign]  # another gateway is first there
    refusal = ControlRefusal(NOT_KEPT, text="no")
    made = await store.change(lambda state: refusal if "other" in str(state) else set_both(state))
    assert made is refusal
    assert store.state.accounts == {first[1]: {"other": FIVE}}
    await store.close()


async def test_each_account_has_a_revision_of_its_own(documents: Documents) -> None:
    store, _ = await open_store(documents)
    await store.change(set_five("f", ONE))
    await store.change(set_five("f", TWO))
    await store.change(set_five("g", TWO))
    assert store.state.revisions == {ONE: "1:own", TWO: "2:own"}
    assert store.state.version == 3
    await store.close()


async def test_a_store_that_lost_a_document_gets_it_back(documents: Documents) -> None:
    store, _ = await open_store(documents)
    await store.change(set_five("f"))
    kept = documents.stored[ONE]
    documents.stored[ONE] = ControlDocument()
    await store.refresh()
    assert documents.stored[ONE] == kept
    assert (ONE, kept.revision) in documents.confirmed
    await store.close()


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ('{"format":2,"functions":{"f":{"x":1}}}', "has format 2, and this gateway reads format 1"),
        ('{"format":1,"functions":{"f":{"unknown":1}}}', "is damaged"),
        ('{"format":1', "is damaged"),
        ("[]", "is damaged"),
    ],
)
async def test_a_document_that_cannot_be_read_admits_nobody_by_older_limits(
    documents: Documents, document: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, adopted = await open_store(documents)
    documents.write(ONE, document, "newer")
    await store.refresh()
    await store.refresh()
    assert len([record for record in caplog.messages if problem in record]) == 1
    assert documents.refused == [ONE, ONE]
    assert adopted == []
    with pytest.raises(ControlStoreError, match=problem):
        await store.change(set_five("f"))
    await store.change(set_five("f", TWO))
    documents.write(ONE, encode_functions({"f": FIVE}), "repaired")
    await store.refresh()
    assert store.state.function(ONE, "f") == FIVE
    await store.close()


async def test_a_copy_is_brought_to_an_empty_store_and_has_each_change_that_was_answered(
    documents: Documents, tmp_path: Path
) -> None:
    """The file is that of one process, as when workers are added."""
    path = tmp_path / "control.json"
    path.write_bytes(encode_state(ControlState(7, {ONE: {"f": FIVE}})))
    store = SharedControlStore(documents, "redis://store", BackgroundTasks(), CopyFile(path))
    await store.start()
    assert documents.stored[ONE].number == 7
    assert store.state.function(ONE, "f") == FIVE
    await store.change(set_five("g", TWO))
    assert read_state(path) == store.state
    older = ControlState(store.state.version - 1, {}, {ONE: "7:file"})
    CopyFile(path).write(older)
    assert read_state(path) == store.state
    await store.close()


def test_policies_are_part_of_the_document() -> None:
    policy = FunctionPolicy(('{"Sid":"bob"}',), "revision")
    functions = {"echo": FunctionControl(policies={"arn:aws:lambda:us-east-1:111122223333:function:echo": policy})}
    assert decode_functions(encode_functions(functions)) == functions
