"""`invoke-gateway fault`: steps in words, its answers and its exit statuses."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.admin.fault_scripts import STEP_KEYS
from invoke_gateway.cli.fault_steps import BadStep, describe_step, parse_step
from invoke_gateway.cli.main import main
from invoke_gateway.policy.invoke_errors import ERROR_NAMES, THROTTLE_REASONS
from tests.support.sockets import Gateway, gateway, invoke

REASON = "CallerRateLimitExceeded"
THROTTLE = "TooManyRequestsException"


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    with gateway(faults=True) as started:
        yield started


@pytest.fixture
def served(shared: Gateway) -> Iterator[Gateway]:
    yield shared
    assert fault(shared, "--end", "all").output == "ended all\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["fault", *arguments], catch_exceptions=False)


def fault(served: Gateway, *arguments: str) -> Result:
    return run(*arguments, "--admin", str(served.server.admin))


def scripts_of(served: Gateway) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = served.fetch("/faults").json["faults"]
    return listed


def rows_of(result: Result) -> list[list[str]]:
    """The cells of the table's rows, without its heading."""
    lines = [line for line in result.stdout.splitlines() if line.strip() and "─" not in line]
    return [re.split(r"\s{2,}", line.strip()) for line in lines if not line.startswith(("fault", "  id"))]


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("pass 2", {"pass": 2}),
        ("error ServiceException", {"error": "ServiceException"}),
        ("throttle 3", {"error": THROTTLE, "repeat": 3}),
        ("throttle", {"error": THROTTLE}),
        (
            "throttle 2 probability 0.5 latency 1",
            {"error": THROTTLE, "repeat": 2, "probability": 0.5, "latency_seconds": 1.0},
        ),
        (f"error {THROTTLE}", {"error": THROTTLE}),
        (f"error {THROTTLE} {REASON}", {"error": THROTTLE, "reason": REASON}),
        (f" error {THROTTLE}  {REASON} repeat 3 ", {"error": THROTTLE, "reason": REASON, "repeat": 3}),
        ("latency 0.5 cut 0", {"latency_seconds": 0.5, "cut_after_bytes": 0}),
        ("latency 2 error EFSIOException", {"latency_seconds": 2.0, "error": "EFSIOException"}),
        ("cut 40960 probability 0.25 repeat 4", {"cut_after_bytes": 40960, "probability": 0.25, "repeat": 4}),
    ],
)
def test_a_step_is_read_from_words(text: str, step: dict[str, Any]) -> None:
    assert parse_step(text) == step
    assert parse_step(describe_step(step)) == step


steps = st.fixed_dictionaries(
    {},
    optional={
        "error": st.sampled_from(ERROR_NAMES),
        "latency_seconds": st.floats(0.001, 900),
        "cut_after_bytes": st.integers(0, 10**8),
        "repeat": st.integers(1, 10**6),
        "probability": st.floats(0.001, 1),
    },
).filter(bool)


@given(steps, st.none() | st.sampled_from(THROTTLE_REASONS))
def test_what_is_described_in_words_is_read_back_from_them(step: dict[str, Any], reason: str | None) -> None:
    if reason is not None and "error" in step:
        step = {**step, "reason": reason}
    assert parse_step(describe_step(step)) == step


def test_there_is_a_word_for_every_key_of_a_step() -> None:
    step = parse_step(f"pass 1 error {THROTTLE} {REASON} latency 1 cut 1 repeat 1 probability 1")
    assert set(step) == set(STEP_KEYS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a step must not be empty"),
        ("fail 2", "'fail 2': 'fail' is none of pass, throttle, error, latency, cut, repeat, probability"),
        (
            "Throtle 3",
            "'Throtle' is none of pass, throttle, error, latency, cut, repeat, probability; did you mean throttle?",
        ),
        ("latncy 3", "did you mean latency?"),
        ("ServiceException", "did you mean error ServiceException?"),
        ("throttle x", "throttle needs a number of calls behind it"),
        ("throttle 3 repeat 2", "has repeat twice"),
        ("throttle 3 error ServiceException", "has error twice"),
        ("error ServiceException throttle 3", "has two errors"),
        ("pass", "'pass': pass needs a number of calls behind it"),
        ("pass two", "pass needs a number of calls"),
        ("pass 1.5", "pass needs a number of calls"),
        ("latency 2s", "latency needs a number of seconds"),
        ("error", "error needs the name of an exception"),
        ("pass 1 pass 2", "has pass twice"),
        (f"error {THROTTLE} {REASON} extra", "'extra' is none of"),
    ],
)
def test_words_that_are_no_step_are_a_wrong_command_line(text: str, words: str) -> None:
    with pytest.raises(BadStep, match=re.escape(words)):
        parse_step(text)
    result = run("checkout", text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_a_script_is_made_shown_run_and_ended(served: Gateway) -> None:
    result = fault(served, "checkout", "pass 1", "error ServiceException repeat 2", "latency 0.01", "--seed", "7")
    assert result.exit_code == 0
    (script,) = scripts_of(served)
    id = script["id"]
    assert (script["function"], script["seed"], script["loop"]) == ("checkout", 7, False)
    assert script["steps"] == [{"pass": 1}, {"error": "ServiceException", "repeat": 2}, {"latency_seconds": 0.01}]
    assert rows_of(result) == [
        [id, "000000000000", "checkout", "0", "0", "7", "→ pass 1"],
        ["error ServiceException repeat 2"],
        ["latency 0.01"],
    ]
    ending = f"invoke-gateway fault --end {id} --admin {served.server.admin}"
    assert result.stdout.splitlines()[-1] == (
        f"fault script {id} for checkout of account 000000000000; `{ending}` ends it"
    )
    assert [served.send(invoke("checkout")).status for _ in range(2)] == [200, 500]
    assert rows_of(fault(served, "--list")) == [
        [id, "000000000000", "checkout", "2", "1", "7", "pass 1"],
        ["→ error ServiceException repeat 2"],
        ["latency 0.01"],
    ]
    assert [served.send(invoke("checkout")).status for _ in range(3)] == [500, 200, 200]
    assert rows_of(fault(served, "--list"))[-1] == ["over: calls pass"]
    ended = fault(served, "--end", id)
    assert (ended.exit_code, ended.output) == (0, f"ended {id}\n")
    again = fault(served, "--end", id)
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr.startswith(f"invoke-gateway: there is no fault script {id}: it was ended or replaced")


def test_a_script_for_every_function_that_loops_in_another_account(served: Gateway) -> None:
    result = fault(served, "*", "error ServiceException", "--loop", "--account", "111122223333")
    (script,) = scripts_of(served)
    assert (script["function"], script["loop"], script["account"]) == (None, True, "000000000000")
    assert "for every function of account 000000000000; " in result.stdout
    assert rows_of(result)[-1] == ["and from the first again"]
    assert "*" in rows_of(result)[0]


def test_a_script_that_replaces_another_says_so(served: Gateway) -> None:
    first = json.loads(fault(served, "checkout", "pass 1", "--json").stdout)["faults"][0]
    result = fault(served, "checkout", "pass 2")
    assert f"for checkout of account 000000000000, in place of {first['id']}; " in result.stdout
    listed = json.loads(fault(served, "--list", "--json").stdout)
    assert listed == served.fetch("/faults").json


@pytest.mark.parametrize(
    ("name", "text", "arguments"),
    [
        ("a.yaml", "function: checkout\nseed: 3\nsteps:\n- pass: 1\n- error: EFSIOException\n", ()),
        ("a.json", '{"function": "other", "steps": [{"pass": 1}, {"error": "EFSIOException"}]}', ("checkout",)),
        ("steps.yaml", "[{pass: 1}, {error: EFSIOException}]", ("checkout", "--seed", "3")),
    ],
)
def test_a_script_may_come_from_a_file_and_the_command_line_goes_over_it(
    served: Gateway, tmp_path: Path, name: str, text: str, arguments: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(text)
    assert fault(served, *arguments, "--file", str(tmp_path / name)).exit_code == 0
    (script,) = scripts_of(served)
    assert (script["function"], script["seed"]) == ("checkout", 0 if name == "a.json" else 3)
    assert script["steps"] == [{"pass": 1}, {"error": "EFSIOException"}]


# Lines that stand for 9 ** 8 values, as "a billion laughs" does.
BOMB = b"a: &a0 [x]\n" + b"\n".join(
    b"a%d: &a%d [%b]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"steps: [", ": is no YAML: "),
        (b"when: 2020-01-01", " holds the date 2020-01-01, which JSON does not have: put it in quotes."),
        (b"seed: .inf", " holds the number inf, which JSON does not have"),
        (b"steps: [{1: x}]", " holds the name 1, which JSON does not have"),
        (b"seed: 1\nsteps: []\nseed: 2", ": seed is given twice, the second time on line 3"),
        (b"[" * 5_000, ": is nested deeper than 32 levels"),
        (BOMB, ": repeats more than 1000000 values with its aliases, the last on line 7"),
        (b"\xff", ": is not UTF-8 text: byte 1"),
        (b"pass 1", "is no fault script: write a mapping with the key steps, or a list of steps."),
        (b"function: x", "Give FUNCTION ('*' for all), then each step in quotes"),
        (b"- {pass: 1}", "Which function?"),
        (None, f"cannot be read: {os.strerror(errno.ENOENT)}."),
    ],
)
def test_a_file_that_is_no_script_is_a_wrong_command_line(tmp_path: Path, text: bytes | None, words: str) -> None:
    if text is not None:
        (tmp_path / "script").write_bytes(text)
    result = run("--file", str(tmp_path / "script"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Give FUNCTION ('*' for all), then each step in quotes"),
        (("checkout",), "Give FUNCTION"),
        (("error ServiceException",), "Give FUNCTION"),
        (("checkout", "pass 1", "--file", "x"), "not both"),
        (("checkout", "--list"), "--list and --end stand alone."),
        (("--list", "--end", "1"), "--list and --end stand alone."),
        (("--end", "1", "--seed", "0"), "--list and --end stand alone."),
        (("checkout", "pass 1", "--admin", "nowhere"), "--admin"),
    ],
)
def test_a_command_line_that_makes_no_sense_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("- {pass: 1}")
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("checkout", "error Throttled"),
            "steps[0].error is 'Throttled', which Invoke does not have. Did you mean TooManyRequestsException?",
        ),
        (
            ("checkout", "pass 1", f"error {THROTTLE} Caller"),
            "steps[1].reason must be one of ConcurrentInvocationLimitExceeded",
        ),
        (("checkout:live", "pass 1"), "function must be a plain function name"),
        (("checkout", "pass 1", "--seed", "-1"), "seed must be a whole number"),
    ],
)
def test_what_the_gateway_refuses_is_one_line_and_exits_with_1(
    served: Gateway, arguments: tuple[str, ...], words: str
) -> None:
    result = fault(served, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"invoke-gateway: {words}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("checkout", "pass 1"), ("--list",), ("--end", "1"), ("--end", "all")])
def test_where_scripts_are_off_or_no_gateway_is_it_says_so_and_exits_with_1(arguments: tuple[str, ...]) -> None:
    with gateway() as off:
        address = str(off.server.admin)
        result = run(*arguments, "--admin", address)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("invoke-gateway: Fault scripts are off. Start the gateway with --faults")
    result = run(*arguments, "--admin", address)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"invoke-gateway: no gateway answers at {address}")
