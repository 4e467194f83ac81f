"""The built wheel in a fresh environment, used by a project that knows nothing of this one's source."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.support.distributions import build_once
from tests.support.lock import NAME, find_active_lock

ROOT = Path(__file__).parents[2]
UV = (sys.executable, "-m", "uv", "pip")
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("test_*.py"))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, pytest, pytest-xdist and boto3."""
    folder = tmp_path_factory.mktemp("outside")
    environment = folder / "environment"
    shutil.copy(find_active_lock(), folder / NAME)
    (wheel,) = build_once(tmp_path_factory).glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", str(environment))
    into = environment / "bin" / "python"
    group = f"{ROOT / 'pyproject.toml'}:outside"
    # uv links from its cache what pip would unpack and compile: this is of no interest here.
    run(*UV, "install", "--python", str(into), str(wheel), "--group", group, "--constraint", NAME, cwd=folder)
    return into


def run(*command: str, cwd: Path | None = None) -> str:
    # The variables of this test run are not the other project's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The documented examples, under a configuration that makes every warning an error."""
    for example in EXAMPLES:
        shutil.copy(example, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    return tmp_path


def test_the_documented_examples_pass_with_the_wheel(python: Path, project: Path) -> None:
    where = "import invoke_gateway, pytest_invoke_gateway as plugin; print(invoke_gateway.__file__, plugin.__file__)"
    assert run(str(python), "-c", where, cwd=project).count(str(python.parents[1])) == 2
    output = run(str(python), "-m", "pytest", "-v", cwd=project)
    print(output)
    assert f"{count_of_examples()} passed" in output


@pytest.mark.parametrize("options", [[], ["-P"]], ids=["the working directory first", "the installed packages first"])
def test_a_project_with_a_package_named_gateway_uses_the_plugin(
    python: Path, project: Path, options: list[str]
) -> None:
    (project / "gateway").mkdir()
    (project / "gateway" / "__init__.py").write_text("MINE = True\n")
    (project / "test_own.py").write_text(
        "import sys\n"
        "sys.path.insert(0, '.')\n"
        "def test_own(invoke_gateway):\n"
        "    import gateway\n"
        "    assert gateway.MINE\n"
        "    assert invoke_gateway.hold_all().slots == 1000\n"
    )
    assert "1 passed" in run(str(python), *options, "-m", "pytest", "test_own.py", cwd=project)


def test_its_environment_has_the_versions_of_the_lock(python: Path) -> None:
    listing = json.loads(run(*UV, "list", "--quiet", "--python", str(python), "--format=json"))
    installed = {canonicalize_name(entry["name"]): entry["version"] for entry in listing}
    del installed["invoke-gateway"]
    assert len(installed) > 15
    locked = set(re.findall(r"^(\S+)==(\S+)", find_active_lock().read_text(), re.MULTILINE))
    assert set(installed.items()) - locked == set()


def test_every_worker_of_xdist_has_a_gateway_of_its_own(python: Path, project: Path) -> None:
    for example in EXAMPLES:
        (project / example.name).unlink()
    (project / "test_workers.py").write_text(
        "from pathlib import Path\n"
        "import pytest\n"
        "@pytest.mark.parametrize('number', range(4))\n"
        "def test_url(invoke_gateway, worker_id, number):\n"
        "    assert invoke_gateway.hold_all().slots == 1000\n"
        "    Path(f'{worker_id}-{invoke_gateway._process.pid}').touch()\n"
    )
    output = run(str(python), "-m", "pytest", "-n", "2", "--dist", "each", cwd=project)
    assert "8 passed" in output  # `each`: every worker runs all four
    workers = sorted(path.name for path in project.glob("gw*"))
    assert [name.partition("-")[0] for name in workers] == ["gw0", "gw1"]
    assert len({name.partition("-")[2] for name in workers}) == 2


def count_of_examples() -> int:
    return sum(example.read_text().count("\ndef test_") for example in EXAMPLES)
