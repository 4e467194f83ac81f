"""The transcript of docs/guides/control-plane.md is what the AWS CLI prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.processes import bare_environment
from tests.support.served import served

PAGE = Path(__file__).parents[1] / "docs" / "guides" / "control-plane.md"
REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"
ATTEMPTS = 5  # on a busy machine three commands may not overlap


def read_transcript() -> list[tuple[str, str]]:
    """Returns the commands of the page's first example, each with what it prints."""
    (text,) = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)[:1]
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(command, printed) for command, _, printed in (part.partition("\n") for part in parts)]


def test_the_transcript_is_what_the_cli_prints(tmp_path: Path) -> None:
    environment = bare_environment(tmp_path) | {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    def run(command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", f"{{ {command}; }} 2>&1"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.stdout

    start, export, *commands = read_transcript()
    assert start[0].startswith("invoke-gateway serve --backend demo")
    with served(tmp_path) as gateway:
        gateway.until_up()
        assert export[0].startswith("export AWS_ENDPOINT_URL=")
        environment |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{gateway.port}", "AWS_MAX_ATTEMPTS": "1"}
        for command, printed in commands:
            if not command.startswith("for "):
                assert run(command).split() == printed.split(), command
                continue
            for _ in range(ATTEMPTS):
                before = gateway.metric(f'throttles_total{{account="000000000000",function="sleep",reason="{REASON}"}}')
                lines = sorted(run(command).split("\n"))
                if lines == sorted(printed.split("\n")):
                    break
            assert lines == sorted(printed.split("\n"))
            after = gateway.metric(f'throttles_total{{account="000000000000",function="sleep",reason="{REASON}"}}')
            assert after - max(before, 0) == 2
