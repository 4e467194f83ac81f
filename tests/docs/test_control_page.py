"""The transcript of docs/guides/control-plane.md is what the AWS CLI prints."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.aws_cli import make_aws_cli
from tests.support.processes import bare_environment
from tests.support.served import Served, served

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "control-plane.md"
REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
ATTEMPTS = 5  # on a busy machine three commands may not overlap


def read_transcript() -> list[tuple[str, str]]:
    """Returns the commands of the page's first example, each with what it prints."""
    (text,) = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)[:1]
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(command, printed) for command, _, printed in (part.partition("\n") for part in parts)]


def count_throttles(gateway: Served) -> float:
    return max(0, gateway.metric(f'throttles_total{{account="000000000000",function="sleep",reason="{REASON}"}}'))


def test_the_transcript_is_what_the_cli_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start, export, *commands = read_transcript()
    assert start[0].startswith("invoke-gateway serve --backend demo")
    assert export[0] == "export AWS_ENDPOINT_URL=http://127.0.0.1:9001 AWS_MAX_ATTEMPTS=1"
    with served(tmp_path) as gateway:
        gateway.until_up()
        keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
        endpoint = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{gateway.port}", "AWS_MAX_ATTEMPTS": "1"}
        environment = bare_environment(tmp_path) | keys | endpoint | {"AWS_DEFAULT_REGION": "us-east-1"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        aws = make_aws_cli(monkeypatch, environment)

        def run_in_shell(command: str) -> str:
            run = ["sh", "-c", f"{{ {command}; }} 2>&1"]
            return subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False).stdout

        for command, printed in commands:
            if command.startswith("aws "):  # in this process, which takes a tenth of the time
                assert aws.main(shlex.split(command)[1:]) == 0
                assert capsys.readouterr().out.split() == printed.split(), command
            elif not command.startswith("for "):
                assert run_in_shell(command) == printed
            else:
                _check_overlapping(gateway, command, printed, run_in_shell)


def _check_overlapping(gateway: Served, command: str, printed: str, run_in_shell: object) -> None:
    """The commands run beside each other, so their outputs come in any order."""
    assert callable(run_in_shell)
    wanted = sorted(printed.splitlines())
    for _ in range(ATTEMPTS):
        before = count_throttles(gateway)
        lines = sorted(run_in_shell(command).splitlines())
        if lines == wanted:
            break
    assert lines == wanted
    assert count_throttles(gateway) - before == 2
