"""`invoke-gateway status`: its screen, its JSON, and its exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from invoke_gateway.cli.status import render
from tests.cli.commands import invoke
from tests.support.sockets import Gateway
from tests.support.sockets import gateway as serving
from tests.support.sockets import invoke as request

ACCOUNT = "000000000000"
REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
FULL: dict[str, Any] = {
    "limit": "reserved_concurrent_executions",
    "account": ACCOUNT,
    "function": "search",
    "in_use": 5,
    "ceiling": 5,
}
DOCUMENT: dict[str, Any] = {
    "version": "0.1.0",
    "gateway": "g-7f3a2b1c",
    "listen": "127.0.0.1:9001",
    "started_at": 1_700_000_000.0,
    "uptime_seconds": 8040.0,
    "ready": True,
    "why": None,
    "problems": [
        {
            "cause": "backend_down",
            "problem": "The backend accepts no connection.",
            "detail": "Connection refused.",
            "action": "Start the backend.",
        }
    ],
    "backend": {"url": "http://127.0.0.1:4566", "state": "down", "error": "Connection refused."},
    "counters": {"store": "redis://10.0.0.5:6379/0", "gateway": "g-7f3a2b1c", "gateways": 3, "trouble": None},
    "settings": {"loaded_at": 1_700_000_000.0, "error": None, "restart_needed": []},
    "nearly_full": [
        FULL,
        FULL | {"limit": "concurrent_executions", "function": None, "in_use": 98, "ceiling": 110},
        FULL | {"limit": "unreserved_concurrent_executions", "function": None, "in_use": 90, "ceiling": 100},
        {"limit": "buffer_bytes", "account": None, "function": None, "in_use": 900, "ceiling": 1000},
    ],
    "nearly_full_left_out": 2,
    "refusing_now": [
        {
            "account": ACCOUNT,
            "function": "search",
            "reason": REASON,
            "limit": "reserved_concurrent_executions",
            "per_second": 9.0,
            "is_switched_off": False,
            "injected": False,
            "occupied_by": [{"function": "search", "slots": 3}, {"function": None, "slots": 2}],
        },
        {"account": ACCOUNT, "function": "legacy", "reason": REASON, "per_second": 0.2, "is_switched_off": True},
        {"account": None, "function": None, "reason": "RequestTooLargeException", "per_second": 1.0},
        {"account": ACCOUNT, "function": "echo", "reason": "ServiceException", "per_second": 1.0, "injected": True},
    ],
    "refusing_now_left_out": 1,
    "queue": {
        "store": "/var/lib/x/events.db",
        "waiting": 40,
        "retrying": 3,
        "running": 0,
        "delivering": 0,
        "undelivered": 2,
        "held": 0,
        "oldest_seconds": 130.0,
        "last_ended": None,
        "last_failed": None,
        "trouble": None,
    },
    "holds": 1,
    "fault_scripts": 2,
    "workers": None,
}
CALM = DOCUMENT | {
    "problems": [],
    "nearly_full": [],
    "nearly_full_left_out": 0,
    "refusing_now": [],
    "refusing_now_left_out": 0,
    "holds": 0,
    "fault_scripts": 0,
}


def shown(document: dict[str, Any], width: int = 200) -> list[str]:
    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        console.print(render(document))
    return [line.strip() for line in captured.get().splitlines()]


def row_of(document: dict[str, Any], label: str) -> str:
    (line,) = [line for line in shown(document) if line.startswith(f"{label}  ")]
    return line.removeprefix(label).strip()


def test_everything_of_a_gateway_is_on_the_screen() -> None:
    lines = shown(DOCUMENT)
    assert lines[0] == "invoke-gateway 0.1.0 g-7f3a2b1c on 127.0.0.1:9001: ready, with 1 problem"
    assert row_of(DOCUMENT, "up").startswith("2 h 14 min, since 2023-11-1")
    assert row_of(DOCUMENT, "backend") == "http://127.0.0.1:4566: down: Connection refused."
    assert row_of(DOCUMENT, "counters") == "redis://10.0.0.5:6379/0: shared by 3 gateways"
    at = lines.index("limits       search: 5 of 5, full")
    assert lines[at + 1 : at + 5] == [
        f"account {ACCOUNT}: 98 of 110, 89 %",
        f"unreserved pool of account {ACCOUNT}: 90 of 100, 90 %",
        "buffer_bytes: 900 of 1000, 90 %",
        "and 2 more; `invoke-gateway limits` shows all",
    ]
    at = lines.index(f"refused now  search 9/s, reservation full ({REASON}); in use by search 3, a hold 2")
    assert lines[at + 1 : at + 5] == [
        f"legacy 0.2/s, off (reservation 0) ({REASON})",
        "all functions 1/s, RequestTooLargeException",
        "echo 1/s, ServiceException, by a fault script",
        "and 1 more; the live page shows them",
    ]
    assert row_of(DOCUMENT, "events") == (
        "40 waiting, 3 in retry, 2 undelivered, the oldest 2 min 10 s old, in /var/lib/x/events.db"
    )
    assert row_of(DOCUMENT, "on purpose") == "1 hold, 2 fault scripts"
    assert lines[-3:] == [
        "backend_down: The backend accepts no connection.",
        "Connection refused.",
        "To do: Start the backend.",
    ]


def test_a_calm_gateway_says_so() -> None:
    lines = shown(CALM)
    assert lines[0].endswith(": ready")
    assert row_of(CALM, "limits") == "none is nearly full"
    assert row_of(CALM, "refused now") == "nothing"
    assert not [line for line in lines if line.startswith("on purpose")]
    assert shown(CALM | {"ready": False, "why": "The gateway is draining."})[0].endswith(": not ready")


@pytest.mark.parametrize(
    ("changes", "label", "text"),
    [
        ({"counters": {"store": None}}, "counters", "in memory, of this gateway alone"),
        (
            {"counters": {"store": "redis://s:1/0", "gateways": 2, "workers": 2, "trouble": "It is away."}},
            "counters",
            "redis://s:1/0: shared by 2 processes; It is away.",
        ),
        ({"workers": [{"silent_seconds": None}, {"silent_seconds": 7}]}, "workers", "2 serve, 1 of them do not reply"),
        ({"queue": None}, "events", "forwarded to the backend (async.mode: forward)"),
        ({"queue": {"store": "x", "trouble": "It is away."}}, "events", "none wait, in x"),
    ],
)
def test_a_part_that_differs(changes: dict[str, Any], label: str, text: str) -> None:
    assert row_of(CALM | changes, label) == text


def test_the_settings_row_has_the_refused_file_or_what_waits_for_a_restart() -> None:
    error = {"at": 1_700_000_100.0, "problem": "x", "problems": 2, "in_force_since": 1_700_000_000.0}
    refused = row_of(CALM | {"settings": CALM["settings"] | {"error": error}}, "settings")
    assert refused.startswith("in force since 2023-11-1")
    assert refused.endswith(" was refused: 2 mistakes")
    waiting = row_of(CALM | {"settings": CALM["settings"] | {"restart_needed": ["listen", "tls"]}}, "settings")
    assert waiting.endswith("; waiting for a restart: listen, tls")


def test_accounts_are_named_where_there_are_several() -> None:
    rows = [FULL, FULL | {"account": "111122223333"}]
    assert "limits       search of account 000000000000: 5 of 5, full" in shown(CALM | {"nearly_full": rows})


@pytest.mark.parametrize("width", [20, 40, 60, 80, 300])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line) for line in shown(DOCUMENT, width)) <= width


def test_what_a_client_has_chosen_neither_is_markup_nor_commands_the_terminal() -> None:
    hostile = "[red]\x1b[2J\x9b"
    refusing = DOCUMENT["refusing_now"][0] | {"function": hostile, "occupied_by": [{"function": hostile, "slots": 1}]}
    problem = DOCUMENT["problems"][0] | {"detail": hostile}
    document = DOCUMENT | {
        "refusing_now": [refusing],
        "problems": [problem],
        "nearly_full": [FULL | {"function": hostile}],
    }
    text = "".join(shown(document))
    assert "[red]?[2J?" in text
    assert not set("\x1b\x9b") & set(text)


@pytest.fixture
def served() -> Iterator[Gateway]:
    with serving() as started:
        started.send(request("echo"))
        yield started


def test_the_exit_status_is_0_without_a_problem_and_1_with_one(served: Gateway) -> None:
    address = str(served.server.admin)
    fine = invoke("status", "--admin", address)
    assert (fine.exit_code, fine.output.splitlines()[0].endswith(f"on {served.server.listen}: ready")) == (0, True)
    served.server.gateway.backend.record_down("Connection refused.")
    down = invoke("status", "--admin", address)
    assert (down.exit_code, "To do: Start the backend" in down.output) == (1, True)
    as_json = invoke("status", "--json", "--admin", address)
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["problems"][0]["cause"] == "backend_down"
    assert invoke("status", "--watch", "--admin", address).exit_code == 1, "no terminal, so once"


def test_without_a_gateway_nothing_is_on_standard_output() -> None:
    away = invoke("status", "--admin", "127.0.0.1:1")
    assert (away.exit_code, away.stdout) == (1, "")
    assert away.stderr.startswith("invoke-gateway: no gateway answers at 127.0.0.1:1")


def test_a_caller_at_its_limit_is_named() -> None:
    row = {"limit": "caller_concurrent_executions", "account": "000000000000", "function": None}
    row |= {"caller": "arn:aws:iam::111122223333:user/alice", "in_use": 4, "ceiling": 5}
    assert "limits       caller arn:aws:iam::111122223333:user/alice: 4 of 5, 80 %" in shown(
        CALM | {"nearly_full": [row]}
    )
