"""`check`: settings are accepted with a table of their accounts, or refused with all mistakes in one pass."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from invoke_gateway.cli.main import main
from tests.cli.commands import invoke
from tests.support.processes import bare_environment

PORTS = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
TWENTY = Path(__file__).with_name("twenty_mistakes.yaml")
MORE = Path(__file__).with_name("more_mistakes.yaml")
FUNCTION = "accounts.default.functions.report"
FOUND = [
    (2, 9, "listen", "must be host:port", "write 127.0.0.1:9001, or 0.0.0.0:9001 for every interface"),
    (4, 1, "regoin", "is not a setting", "did you mean region?"),
    (6, 8, "backend.url", "must be an http or https origin; it is 'localhost:4566'", "write http://localhost:4566"),
    (7, 20, "backend.timeout_seconds", "it is the text '15m'", "write 900"),
    (9, 3, "accounts.default", "below its minimum value of [100].", "165 of 200 concurrent executions are reserved"),
    (10, 28, "accounts.default.concurrent_executions", "it is the text '200'", "write 200 without quotes"),
    (11, 26, "accounts.default.requests_per_second", "it is the text '600/min'", "write 10"),
    (15, 9, f"{FUNCTION}.dead_letter_queue", "as a destination for itself", "name another function, or a queue"),
    (16, 33, f"{FUNCTION}.maximum_retry_attempts", "must be 0, 1 or 2; it is 3", "write 2 or less"),
    (17, 7, "accounts.default.functions.resize:live", "must be a plain function name", "write resize: leave out ARN"),
    (19, 3, "accounts.111122223333", "is a number here, not a name", 'put it in quotes: "111122223333"'),
    (21, 3, "credentials.AKIAIOSFODNN7EXAMPLE", "which is not in accounts", 'did you mean "111122223333"?'),
    (24, 3, "quotas.request", "is given twice, the second time on line 24", "keep one of the two"),
    (24, 12, "quotas.request", "it is the text '6MiB'", "write 6291456"),
    (25, 3, "quotas.ReadTimeoutSeconds", "is not a setting", "did you mean read_timeout_seconds?"),
    (27, 9, "async.mode", "must be queue or forward; it is the text 'que'", "did you mean queue?"),
    (28, 3, "async.shortest_delay_seconds", "more than longest_delay_seconds (300)", "lower it to 300, or raise"),
    (29, 34, "async.function_error_delays_seconds", "it is the text '60s'", "write [60, 120]"),
    (30, 28, "shared.store_timeout_seconds", "more than a quarter of lease_seconds (2)", "lower it to 0.5, or raise"),
    (33, 1, "faults", "is true with 4 workers", "run one worker where faults are scripted"),
]
"""line, column, key, a part of the problem, the beginning of the cure"""


def pipe(data: bytes, *arguments: str, **environment: str) -> Result:
    variables = {f"INVOKE_GATEWAY_{name}": value for name, value in environment.items()}
    return CliRunner().invoke(main, ["check", *arguments, "-"], input=data, env=variables)


def problems(result: Result) -> list[dict[str, Any]]:
    document = json.loads(result.stdout)
    assert (document["ok"], result.exit_code) in ((True, 0), (False, 2))
    found: list[dict[str, Any]] = document["problems"]
    return found


# ---- a file ---------------------------------------------------------------------------------------------------


def test_check_says_ok_and_shows_what_each_account_gets(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(PORTS + 'accounts: {"111122223333": {concurrent_executions: 50, unreserved_floor: 10}}')
    result = invoke("check", str(file))
    assert result.exit_code == 0
    assert result.output.startswith(f"{file}: ok\n")
    rows = [line.replace("│", " ").split() for line in result.output.splitlines()]
    assert ["default", "1000", "0", "0", "1000", "100"] in rows
    assert ["111122223333", "50", "0", "0", "50", "10"] in rows


def test_check_lists_all_mistakes_and_exits_with_2(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nlisen: 1\nwatch: 5\n")
    result = invoke("check", str(file))
    assert result.exit_code == 2
    assert "2 mistakes" in result.stderr
    assert invoke("check", str(tmp_path / "none.yaml")).exit_code == 2


def test_twenty_mistakes_of_all_kinds_are_reported_in_one_pass_with_place_and_cure() -> None:
    result = invoke("check", str(TWENTY))
    assert (result.exit_code, result.stdout) == (2, "")
    head, *blocks = result.stderr.split("\n\n")
    assert head == "invoke-gateway: 20 mistakes in the settings"
    assert len(blocks) == len(FOUND) == 20
    for block, (line, column, key, problem, cure) in zip(blocks, FOUND, strict=True):
        where, message, action = block.rstrip().split("\n")
        assert where == f"  {key}  ({TWENTY}:{line}:{column})"
        assert problem in message
        assert action.startswith(f"      -> {cure}")


def test_the_mistakes_as_json_have_the_same_places_and_texts() -> None:
    result = invoke("check", "--format", "json", str(TWENTY))
    document = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (2, "")
    assert {key: document[key] for key in ("ok", "file", "mistakes", "accounts")} == {
        "ok": False,
        "file": str(TWENTY),
        "mistakes": 20,
        "accounts": [],
    }
    for found, (line, column, key, problem, cure) in zip(document["problems"], FOUND, strict=True):
        assert list(found) == ["severity", "key", "source", "file", "line", "column", "problem", "cure"]
        assert (found["line"], found["column"], found["key"], found["severity"]) == (line, column, key, "error")
        assert found["file"] == found["source"] == str(TWENTY)
        assert problem in found["problem"]
        assert found["cure"].startswith(cure)


def test_mistakes_of_the_other_kinds_are_reported_in_one_pass_with_place_and_cure() -> None:
    found = problems(invoke("check", "--format", "json", str(MORE)))
    shown = ["{line}:{column} {key} -> {cure}".format(**problem) for problem in found if problem["severity"] == "error"]
    assert shown == MORE.with_suffix(".txt").read_text().splitlines()
    assert len(shown) > 40


def test_every_place_of_the_twenty_is_that_of_the_key_or_of_its_value() -> None:
    lines = TWENTY.read_text().splitlines()
    for line, column, key, *_ in FOUND:
        name = key.rpartition(".")[2].partition(":")[0]
        assert name in lines[line - 1], key
        assert re.search(r"(^ *|: |[{\[]|, )$", lines[line - 1][: column - 1]), key


def test_without_a_mistake_json_has_the_limits_of_each_account(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(PORTS)
    result = invoke("check", "--format=json", str(file))
    assert result.exit_code == 0
    limits = {"concurrent_executions": 1000, "functions": 0, "reserved": 0, "unreserved": 1000, "floor": 100}
    assert json.loads(result.stdout) == {
        "ok": True,
        "file": str(file),
        "mistakes": 0,
        "problems": [],
        "accounts": [{"account": "default", **limits}],
    }


def test_a_note_is_no_mistake_in_json(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(PORTS + "async: {store: 'redis://127.0.0.1:1/0'}\n")
    (note,) = problems(invoke("check", "--format", "json", str(file)))
    assert (note["severity"], note["key"], note["line"], note["cure"]) == ("note", None, None, None)
    assert note["problem"].startswith("the event store at redis://127.0.0.1:1/0 does not answer")


def test_serve_reports_the_same_twenty() -> None:
    checked, served = invoke("check", str(TWENTY)), invoke("serve", "--config", str(TWENTY))
    assert served.exit_code == 2
    assert served.stderr == checked.stderr


# ---- standard input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [(b"# a\nregion: Mars\n", 2, 9), (b'{"watch": false,\n\t"region": "Mars"}', 2, 12), (b"\n{region: Mars}", 2, 10)],
)
def test_a_dash_is_yaml_or_json_on_standard_input(data: bytes, line: int, column: int) -> None:
    result = pipe(data)
    assert result.exit_code == 2
    assert f"\n  region  (<stdin>:{line}:{column})\n" in result.stderr
    (problem,) = problems(pipe(data, "--format", "json"))
    assert (problem["file"], problem["line"], problem["column"]) == ("<stdin>", line, column)


def test_settings_without_a_mistake_pass_by_a_pipe_of_a_real_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "invoke_gateway", "check", "-"]
    environment = bare_environment(tmp_path)
    for text, status in ((PORTS, 0), (f"{PORTS}watch: 5\n", 2)):
        done = subprocess.run(
            command, input=text, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == status, done.stderr
    assert "  watch  (<stdin>:3:8)\n" in done.stderr


# ---- the environment ------------------------------------------------------------------------------------------


def test_check_looks_at_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(PORTS)
    assert invoke("check", str(file), MAX_HEADERS="many").exit_code == 0


def test_with_env_the_variables_are_checked_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(PORTS + "buffer_bytes: 6MB\nregion: Mars\naccounts: {default: {concurrent_executions: 10}}\n")
    result = invoke(
        *("check", "--env", "--format", "json", str(file)),
        BUFFER_BYTES="1 GiB",
        RESERVE="a=20,b:3",
        WACTH="1",
        READ_TIMEOUT_SECONDS="1m",
    )
    found = {problem["source"]: problem for problem in problems(result)}
    assert {source: problem["cure"] for source, problem in found.items() if source.startswith("INVOKE")} == {
        "INVOKE_GATEWAY_WACTH": "did you mean INVOKE_GATEWAY_WATCH?",
        "INVOKE_GATEWAY_RESERVE": "write b=3",
        "INVOKE_GATEWAY_BUFFER_BYTES": "write 1073741824",
        "INVOKE_GATEWAY_READ_TIMEOUT_SECONDS": "write 60",
    }
    assert found["INVOKE_GATEWAY_BUFFER_BYTES"]["line"] is None
    assert found[str(file)]["key"] == "region"
    floor = found[f"{file}, INVOKE_GATEWAY_RESERVE"]
    assert (floor["key"], floor["file"]) == ("accounts.default", None)
    assert floor["cure"].startswith("20 of 10 concurrent executions are reserved")


def test_with_env_the_file_may_be_named_by_its_variable_or_be_left_out(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("listen: 127.0.0.1:0\nregion: Mars\n")
    result = invoke("check", "--env", CONFIG=str(file))
    assert f"  region  ({file}:2:9)" in result.stderr
    alone = invoke("check", "--env", LISTEN="127.0.0.1:0", ADMIN="127.0.0.1:0")
    assert (alone.exit_code, alone.stdout.splitlines()[0]) == (0, "environment: ok")
    assert invoke("check", "--env", REGION="Mars").exit_code == 2


def test_a_command_line_without_settings_is_wrong() -> None:
    result = invoke("check")
    assert result.exit_code == 2
    assert "Give a file, - for standard input, or --env." in result.stderr
