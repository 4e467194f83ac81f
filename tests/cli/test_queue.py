"""`invoke-gateway queue`: its tables, and what it does to a running gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from invoke_gateway.cli.main import main
from invoke_gateway.cli.output.event_tables import describe_end, describe_event, events_table, history_table, render
from tests.support.sockets import Gateway, invoke
from tests.support.sockets import gateway as serving

ID = "12345678-abcd-4000-8000-1234567890%02x"
FUNCTION: dict[str, Any] = {
    "account": "000000000000",
    "function": "report",
    "waiting": 40,
    "retrying": 3,
    "running": 2,
    "delivering": 1,
    "undelivered": 0,
    "oldest_seconds": 3725.0,
    "next_due_seconds": 0.25,
}
QUEUE: dict[str, Any] = {
    "mode": "queue",
    "store": "/var/lib/x/queue.db",
    "events": 46,
    "undelivered": 0,
    "functions": [FUNCTION],
    "left_out": 0,
    "trouble": None,
}
EVENT: dict[str, Any] = {
    "request_id": ID % 1,
    "account": "000000000000",
    "function": "report",
    "arn": "arn:aws:lambda:us-east-1:000000000000:function:report:$LATEST",
    "state": "undelivered",
    "is_running": False,
    "received_at": 1_700_000_000.0,
    "age_seconds": 75.0,
    "due_in_seconds": None,
    "runs": 3,
    "returns": 1,
    "outcome": {
        "condition": "RetriesExhausted",
        "ended_seconds_ago": 5.0,
        "error_code": 200,
        "error_message": "no",
        "pending": ["on_failure"],
        "tries": 10,
        "trouble": "nobody is there",
    },
    "answer": {"status": 200, "function_error": "Unhandled", "size": 2, "payload": "{}"},
    "path": "/2015-03-31/functions/report/invocations",
    "headers": [["x-custom", "mine"]],
    "size": 2000,
    "payload": "x" * 2000,
}


def shown(what: Any) -> list[list[str]]:
    console = Console(width=220, no_color=True)
    with console.capture() as captured:
        console.print(what)
    lines = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in captured.get().splitlines()]
    return [cells for cells in lines if cells and "─" not in cells[0]]


@pytest.fixture
def served() -> Iterator[Gateway]:
    accounts = {"default": {"functions": {"hold-one": {"reserved_concurrent_executions": 1}}}}
    with serving(accounts=accounts) as started:
        yield started


def ask(served: Gateway, *arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(main, ["queue", *arguments, "--admin", str(served.server.admin)], **more)


def send(served: Gateway, *numbers: int) -> None:
    for number in numbers:
        headers = ("X-Amz-Invocation-Type: Event", f"x-amzn-RequestId: {ID % number}")
        assert served.send(invoke("hold-one", b'{"n": %d}' % number, *headers)).status == 202
    served.until_running(1)


def test_a_row_says_what_waits_for_what_and_how_long() -> None:
    heading, row, whole = shown(render(QUEUE))
    assert heading == [
        "function",
        *("waiting", "in retry", "running", "delivering", "undelivered"),
        "oldest",
        "next in",
    ]
    assert row == ["report", "40", "3", "2", "1", "0", "1 h 02 min", "0.2 s"]
    assert whole == ["46 events in /var/lib/x/queue.db"]


def test_the_account_is_there_where_accounts_differ() -> None:
    rows = shown(render(QUEUE | {"functions": [FUNCTION, FUNCTION | {"account": "111122223333"}]}))
    assert [row[0] for row in rows[:3]] == ["account", "000000000000", "111122223333"]


def test_below_the_table_stands_what_is_not_in_it_and_what_is_wrong() -> None:
    document = QUEUE | {"left_out": 7, "undelivered": 2, "trouble": "The disk is full. Make room."}
    lines = [" ".join(row) for row in shown(render(document))[2:]]
    shows = "`invoke-gateway queue list --state undelivered` shows them"
    assert lines == [
        "and 7 more functions; --rows shows more",
        "46 events in /var/lib/x/queue.db",
        f"2 events could not be delivered: {shows}, `queue retry` and `queue drop` decide",
        "The disk is full. Make room.",
    ]
    assert shown(render(QUEUE | {"events": 0, "functions": []})) == [["No events wait in /var/lib/x/queue.db."]]
    assert "forwarded to the backend" in shown(render({"mode": "forward", "functions": []}))[0][0]


def test_what_a_client_has_chosen_neither_is_markup_nor_commands_the_terminal() -> None:
    hostile = "[red]\x1b[2J\x9b"
    (_, row, *_) = shown(render(QUEUE | {"functions": [FUNCTION | {"function": hostile}]}))
    assert row[0] == "[red]?[2J?"
    outcome = EVENT["outcome"] | {"trouble": hostile, "error_message": hostile}
    event = EVENT | {"function": hostile, "path": hostile, "headers": [[hostile, hostile]], "payload": hostile}
    event |= {"outcome": outcome, "answer": EVENT["answer"] | {"payload": hostile, "function_error": hostile}}
    assert "\x1b" not in "".join(map("".join, shown(events_table([event]))))
    text = "".join(describe_event(event, whole=True))
    assert "[red]?[2J?" in text
    assert not set("\x1b\x9b") & set(text)


def test_everything_of_an_event_is_told_and_of_its_payload_the_first_kibibyte() -> None:
    lines = describe_event(EVENT, whole=False)
    told = dict(line.split(":", 1) for line in lines if ":" in line and "characters" not in line)
    assert {key: told[key].strip() for key in ("request id", "state", "runs", "message", "trouble", "header")} == {
        "request id": ID % 1,
        "state": "undelivered",
        "runs": "3 that failed",
        "message": "no",
        "trouble": "nobody is there",
        "header": "x-custom: mine",
    }
    assert told["outcome"].strip() == "RetriesExhausted, 5.0 s ago; error code 200"
    assert told["pending"].strip() == "on_failure, not delivered 10 times"
    assert lines[-2:] == ["x" * 1024, "… and 976 characters more: --payload shows all"]
    assert describe_event(EVENT, whole=True)[-1] == "x" * 2000


def test_it_asks_a_running_gateway(served: Gateway) -> None:
    assert ask(served).output.startswith("No events wait in ")
    send(served, 1, 2, 3)
    result = ask(served)
    assert (result.exit_code, "hold-one" in result.output, "3 events in " in result.output) == (0, True, True)
    assert ask(served, "--watch").output.count("hold-one") == 1, "no terminal, so once"
    assert json.loads(ask(served, "--json").output)["waiting"] == 2
    listed = ask(served, "list", "hold-one", "--state", "waiting").output
    assert (ID % 1 in listed, ID % 2 in listed, ID % 3 in listed) == (False, True, True)
    assert ask(served, "list", "--most", "1").output.endswith("and more; --most shows up to 100\n")
    assert ask(served, "list", "echo").output == "No events match.\n"
    event = ask(served, "show", ID % 2).output
    assert "state:       waiting" in event
    assert event.endswith('payload:     8 bytes\n{"n": 2}\n')
    assert json.loads(ask(served, "show", ID % 2, "--json").output)["events"][0]["payload"] == '{"n": 2}'
    served.until_no_events()


def test_it_retries_and_drops_one_after_the_other_and_says_what_it_could_not(served: Gateway) -> None:
    send(served, 1, 2, 3)
    result = ask(served, "retry", ID % 3, ID % 1)
    assert (result.exit_code, result.stdout) == (1, f"retried {ID % 3}\n")
    assert result.stderr.startswith(f"invoke-gateway: Event {ID % 1} is being run or delivered now")
    result = ask(served, "drop", ID % 2, ID % 3)
    assert (result.exit_code, result.output) == (0, f"dropped {ID % 2}\ndropped {ID % 3}\n")
    served.until_no_events()
    assert [(call.header(b"x-amzn-requestid") or b"").decode() for call in served.forwarded()] == [ID % 1]


def test_on_a_terminal_it_asks_before_it_drops(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    send(served, 1, 2, 3)
    monkeypatch.setattr("invoke_gateway.cli.queue._is_terminal", lambda: True)
    result = ask(served, "drop", ID % 2, ID % 3, input="n\n")
    assert (result.exit_code, "Drop these 2 events for good" in result.output) == (1, True)
    assert json.loads(ask(served, "--json").output)["events"] == 3
    assert ask(served, "drop", ID % 2, input="y\n").output.endswith(f"dropped {ID % 2}\n")
    assert ask(served, "drop", ID % 3, "--yes").output == f"dropped {ID % 3}\n"
    served.until_no_events()


def test_the_gateway_may_be_named_before_the_words_or_after(served: Gateway) -> None:
    before = ["queue", "--admin", str(served.server.admin), "list"]
    assert CliRunner().invoke(main, before).output == "No events match.\n"


def test_a_mistake_is_one_line_and_exits_with_1(served: Gateway) -> None:
    for words in (("show", "1"), ("retry", "1"), ("drop", "1")):
        result = ask(served, *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("invoke-gateway: '1' is no request id. Send the UUID"), result.stderr
    unknown = ask(served, "show", ID % 9)
    assert unknown.exit_code == 1
    assert unknown.stderr.startswith(f"invoke-gateway: There is no event {ID % 9}: it has run")
    away = CliRunner().invoke(main, ["queue", "--admin", "127.0.0.1:1"])
    assert away.exit_code == 1
    assert away.stderr.startswith("invoke-gateway: no gateway answers at 127.0.0.1:1")


ENDED: dict[str, Any] = {
    "request_id": ID % 1,
    "account": "000000000000",
    "function": "report",
    "end": "failed",
    "condition": "RetriesExhausted",
    "attempts": 3,
    "returns": 0,
    "ended_at": 1_700_000_000.0,
    "ended_seconds_ago": 12.0,
    "age_seconds": 190.0,
    "run_seconds": 0.25,
    "error_code": 200,
    "error": "RuntimeError: boom",
    "delivery": None,
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "failed after 3 attempts"),
        ({"attempts": 1}, "failed after 1 attempt"),
        ({"attempts": 0}, "failed, refused by the backend"),
        ({"end": "succeeded", "attempts": 1}, "succeeded"),
        ({"end": "succeeded", "attempts": 2}, "succeeded at attempt 2"),
        ({"end": "expired", "attempts": 0}, "expired, never run"),
        ({"end": "expired", "attempts": 1}, "expired after 1 attempt"),
        ({"end": "dropped", "condition": "DroppedByHand"}, "dropped (DroppedByHand)"),
        ({"end": "undelivered"}, "undelivered (RetriesExhausted)"),
    ],
)
def test_the_end_of_an_event_is_told_in_words(changes: dict[str, Any], words: str) -> None:
    assert describe_end(ENDED | changes) == words


def test_below_the_queue_stands_what_ended_last() -> None:
    succeeded = ENDED | {"end": "succeeded", "attempts": 1, "function": "echo", "error": "", "ended_seconds_ago": 2.0}
    shows = "`invoke-gateway queue history` shows the last that ended"
    empty = QUEUE | {"events": 0, "functions": []}
    lines = [" ".join(row) for row in shown(render(empty | {"last_ended": ENDED, "last_failed": ENDED}))]
    last = "report failed after 3 attempts, 12.0 s ago: RuntimeError: boom"
    assert lines[1:] == [f"last ended: {last}", shows]
    lines = [" ".join(row) for row in shown(render(empty | {"last_ended": succeeded, "last_failed": ENDED}))]
    assert lines[1:] == ["last ended: echo succeeded, 2.0 s ago", f"last that did not succeed: {last}", shows]
    lines = [" ".join(row) for row in shown(render(empty | {"last_ended": succeeded, "last_failed": None}))]
    assert lines[1:] == ["last ended: echo succeeded, 2.0 s ago"]


def test_a_row_of_the_history_has_the_end_the_durations_the_id_and_the_error() -> None:
    heading, row, error = shown(history_table([ENDED]))
    assert heading == ["ended", "function", "end", "age", "run", "request id, error"]
    assert row == ["12.0 s ago", "report", "failed after 3 attempts", "3 min 10 s", "0.2 s", ID % 1]
    assert error == ["RuntimeError: boom"]
    both = shown(history_table([ENDED, ENDED | {"account": "111122223333"}]))
    assert both[0][:2] == ["ended", "account"]
    hostile = ENDED | {"function": "[red]\x1b[2J", "error": "\x9b", "end": "\x1b"}
    assert not set("\x1b\x9b") & set("".join(map("".join, shown(history_table([hostile])))))


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_line_of_the_history_is_wider_than_a_narrow_terminal(width: int) -> None:
    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        console.print(history_table([ENDED]))
    assert max(len(line) for line in captured.get().splitlines()) <= width


def test_it_shows_the_history_of_a_running_gateway(served: Gateway) -> None:
    assert ask(served, "history").output == "No such event has ended since the gateway started.\n"
    send(served, 1)
    served.until_no_events()
    result = ask(served, "history", "hold-one")
    assert (result.exit_code, "succeeded" in result.output, ID % 1 in result.output) == (0, True, True)
    assert json.loads(ask(served, "history", "--json").output)["events"][0]["end"] == "succeeded"
    assert ask(served, "history", "--failed").output == "No such event has ended since the gateway started.\n"
    assert "last ended: hold-one succeeded, " in ask(served).output
