"""`invoke-gateway in-flight`: its table, and what it says beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from invoke_gateway.cli.in_flight import describe_released, describe_rest, holders_table
from invoke_gateway.cli.main import main
from tests.support.sockets import Gateway, calls_under_way
from tests.support.sockets import gateway as serving

ROW: dict[str, Any] = {
    "gateway": "g-7f3a2b1c",
    "worker": None,
    "account": "000000000000",
    "function": "checkout",
    "request_id": "12345678-abcd-4000-8000-123456789abc",
    "caller": "AKIAONE",
    "slots": 1,
    "age_seconds": 12.34,
}


def render(*rows: dict[str, Any]) -> list[list[str]]:
    console = Console(width=200, no_color=True)
    with console.capture() as captured:
        console.print(holders_table([ROW | row for row in rows]))
    lines = [line.split("  ") for line in captured.get().splitlines()]
    return [
        cells for line in lines if (cells := [cell.strip() for cell in line if cell.strip()]) and "─" not in line[0]
    ]


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with serving() as started:
        yield started


def ask(served: Gateway, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--admin", str(served.server.admin)])


def test_a_row_says_who_holds_a_slot_of_what_for_how_long_and_for_whom() -> None:
    heading, row = render({})
    assert heading == ["gateway", "function", "request id", "age", "caller"]
    assert row == ["g-7f3a2b1c", "checkout", ROW["request_id"], "12.3 s", "AKIAONE"]


def test_columns_are_there_when_they_say_something() -> None:
    assert render({"worker": "2r1"})[0][:3] == ["gateway", "worker", "function"]
    assert render({"gateway": None})[0] == ["function", "request id", "age", "caller"]
    assert render({}, {"account": "111122223333"})[0][:2] == ["gateway", "account"]


def test_a_hold_is_shown_by_its_id_and_the_pool_by_its_name() -> None:
    (row,) = render({"hold": "3", "slots": 5, "function": None, "request_id": None, "caller": None})[1:]
    assert row == ["g-7f3a2b1c", "unreserved", "hold 3 (5 slots)", "12.3 s"]


def test_what_a_client_has_chosen_neither_is_markup_nor_commands_the_terminal() -> None:
    assert render({"caller": "[red]\x1b[2J\x9b"})[1][-1] == "[red]?[2J?"


def test_beside_the_table_stands_what_is_not_in_it() -> None:
    gateways = [
        {"gateway": "g-1", "worker": None, "account": "a", "slots": 3, "listed_seconds_ago": 1.0, "is_alive": True},
        {"gateway": "g-2", "worker": None, "account": "a", "slots": 4, "listed_seconds_ago": None, "is_alive": True},
        {
            "gateway": "g-3",
            "worker": "1",
            "account": "a",
            "slots": 12,
            "listed_seconds_ago": None,
            "is_alive": False,
            "seconds_left": 3.21,
        },
        {
            "gateway": "g-4",
            "worker": None,
            "account": "a",
            "slots": 1,
            "listed_seconds_ago": 2.0,
            "is_alive": False,
            "seconds_left": 0,
        },
    ]
    document = {"holders": [ROW], "left_out": 1, "gateways": gateways, "trouble": "The store is away."}
    dead = "the gateway does not renew its lease. Its slots are released"
    ending = "or by `invoke-gateway in-flight release --gateway"
    assert describe_rest(document) == [
        "and 1 slot more",
        "g-2 holds 4 slots of account a, whose calls are not known",
        f"g-3.1 holds 12 slots of account a, whose calls are not known; {dead} in 3.2 s, {ending} g-3.1`",
        f"g-4 holds 1 slot of account a; {dead} now, {ending} g-4`",
        "The store is away.",
    ]


def test_it_asks_a_running_gateway(served: Gateway) -> None:
    assert ask(served, "in-flight").output == "No slot is in use.\n"
    with calls_under_way(served, "hold-a", "hold-a", "hold-b"):
        result = ask(served, "in-flight", "hold-a", "--most", "1")
        assert result.exit_code == 0
        assert "hold-a" in result.output
        assert "hold-b" not in result.output
        assert result.output.endswith("and 1 slot more\n")
        shown = json.loads(ask(served, "in-flight", "--json").output)
        assert [row["function"] for row in shown["holders"]].count("hold-a") == 2


def test_a_mistake_is_one_line_and_exits_with_1(served: Gateway) -> None:
    result = ask(served, "in-flight", "a/b")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("invoke-gateway: function must be a plain function name")
    away = CliRunner().invoke(main, ["in-flight", "--admin", "127.0.0.1:1"])
    assert away.exit_code == 1
    assert away.stderr.startswith("invoke-gateway: no gateway answers at 127.0.0.1:1")


# in-flight release --gateway


def test_what_was_given_back_is_a_line_for_each_process_and_account() -> None:
    rows = [
        {"gateway": "g-1", "worker": "2r1", "account": "a", "slots": 12, "is_alive": False},
        {"gateway": "g-1", "worker": None, "account": "b", "slots": 1, "is_alive": True},
    ]
    assert describe_released({"released": rows}) == [
        "g-1.2r1: released 12 slots of account a",
        (
            "g-1: released 1 slot of account b; "
            "the gateway lives, and counts its running calls again, also above the limit"
        ),
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("in-flight", "release"), "Missing option '--gateway'"),
        (("in-flight", "release", "--gateway", ""), "give the id of a gateway"),
        (("release",), "Missing argument 'HOLD'"),
        (("release", "1", "--force"), "--force was renamed: use invoke-gateway in-flight release --force."),
    ],
)
def test_holds_and_gateways_are_released_by_two_commands(arguments: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_gateway_that_counts_in_memory_has_nothing_of_another_one(served: Gateway) -> None:
    result = ask(served, "in-flight", "release", "--gateway", "g-7f3a2b1c", "--force")
    assert result.exit_code == 1
    assert result.stderr.startswith("invoke-gateway: This gateway counts in its own memory")
    assert served.fetch("/in-flight/g-7f3a2b1c", "DELETE").status == 409


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?force=1", "force must be true or false."),
        ("?account=1", "account must be twelve digits"),
        ("?all=true", "The query has no key 'all'. Its keys are account, force."),
    ],
)
def test_a_release_that_makes_no_sense_is_told_what_would(served: Gateway, query: str, says: str) -> None:
    answer = served.fetch(f"/in-flight/g-1{query}", "DELETE")
    assert answer.status == 400
    assert answer.json["error"].startswith(says)
