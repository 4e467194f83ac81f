"""Completion in a real shell, set up by the lines of docs/reference/cli.md."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import bare_environment

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
SHELLS = {
    shell: line.replace("\\|", "|") for shell, line in re.findall(r"^\| (\w+)[^|]* \| [^|]+ \| `(.+)` \|$", PAGE, re.M)
}
LIST = """
COMP_WORDS=({words}) COMP_CWORD={number} COMPREPLY=()
_invoke_gateway_completion invoke-gateway
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def run(shell: str, script: str, folder: Path) -> str:
    environment = bare_environment(folder) | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = subprocess.run([shell, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def complete(words: str, folder: Path) -> list[str]:
    script = LIST.format(words=words, number=len(words.split()) - 1)
    return run("bash", f"{SHELLS['bash']}\n{script}", folder).split()


def test_the_page_has_a_line_for_each_shell_that_click_knows() -> None:
    from click.shell_completion import _available_shells

    assert set(SHELLS) == {*_available_shells} - {"powershell"}  # newer versions of click have that one


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("invoke-gateway ho", ["hold"]),
        ("invoke-gateway hold --s", ["--slots", "--seconds"]),
        ("invoke-gateway queue r", ["retry"]),
        ("invoke-gateway queue list --state re", ["retrying"]),
    ],
)
def test_bash_completes_commands_flags_and_values(words: str, expected: list[str], tmp_path: Path) -> None:
    assert complete(words, tmp_path) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_take_their_line(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    prefix = "autoload -U compinit; compinit -u\n" if shell == "zsh" else ""
    run(shell, f"{prefix}{SHELLS[shell]}", tmp_path)
