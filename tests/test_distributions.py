"""The wheel and the source distribution hold what they should, and a package index can show them."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from email.message import Message
from email.parser import Parser
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import trove_classifiers
from readme_renderer.markdown import render

from tests.support import distributions
from tests.support.distributions import ROOT, expect_wheel, find_differences, list_git, list_sdist, list_wheel
from tests.support.lock import find_oldest_python, read_project

PROJECT: dict[str, Any] = read_project()["project"]
SUBSTITUTIONS = read_project()["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both."""
    return distributions.build_once(tmp_path_factory)


@pytest.fixture(scope="module")
def metadata(folder: Path) -> Message:
    (wheel,) = folder.glob("*.whl")
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_both_hold_what_git_has_and_nothing_else(folder: Path) -> None:
    try:
        source = list_git(untracked=True)
    except (FileNotFoundError, RuntimeError) as error:
        pytest.skip(f"the content is compared with git's: {error}")
    assert find_differences(folder, source) == []


def test_the_tests_can_be_run_from_the_source_distribution(folder: Path) -> None:
    """Without git too, where the test above is skipped."""
    there = list_sdist(folder)
    wanted = {
        str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("*.py") if "node_modules" not in path.parts
    }
    wanted |= {"CHANGELOG.md", "Makefile", "constraints.txt", "pyproject.toml", ".ci/run", ".gitignore"}
    wanted |= {"docs/install.md", "docs/examples/test_events.py", "tests/live/package.json"}
    wanted |= {"grafana/rules.yml", "grafana/dashboards/overview.json", "loadtests/load/run.py"}
    assert len(wanted) > 300
    assert wanted - there == set()
    tops = {name.partition("/")[0] for name in there}
    assert not tops & {".venv", ".cache", ".git", "build", "dist", "node_modules"}
    assert [
        name for name in there if re.search(r"node_modules|__pycache__|\.pyc$|\.egg-info|results/.*\.html$", name)
    ] == []


def test_the_wheel_has_both_packages_with_all_that_they_read(folder: Path) -> None:
    there = list_wheel(folder)
    package = ROOT / "gateway"
    wanted = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    wanted = {name for name in wanted if name.startswith(distributions.PACKAGES) and "__pycache__" not in name}
    wanted = {name for name in wanted if ".egg-info" not in name}
    assert there == wanted | distributions.IN_DIST_INFO
    suffixes = {Path(name).suffix for name in wanted}
    assert suffixes >= {".py", ".lua", ".sql", ".html", ".json", ".typed"}
    assert {f"{name}/py.typed" for name in distributions.PACKAGES} <= there


def test_what_the_recipes_write_is_in_neither_distribution(folder: Path, tmp_path: Path) -> None:
    """A reader who pastes them in a checkout can still build. The build is one of an unpacked source distribution."""
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as unpacked:
        unpacked.extractall(tmp_path, filter="data")
    (root,) = tmp_path.iterdir()
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    written = {name for page in pages for name in find_written(page.read_text())}
    assert written >= {"gateway.log", "backend.log", "store.log", "out.json", "event.json"}
    for name in written:
        (root / name).touch()
    (root / "kept.txt").touch()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path / "again")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list_sdist(tmp_path / "again") - list_sdist(folder) == {"kept.txt"}


def find_written(page: str) -> set[str]:
    """Returns the files that the shell commands of a page write into the folder in which they are run."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```|^<!-- before: (.*?) -->$", page, re.MULTILINE | re.DOTALL)
    text = "\n".join(part for block in blocks for part in block)
    redirected = re.findall(r"\d?> ?([\w-]+\.\w+)\b", text)
    invoked = re.findall(r"aws lambda invoke [^\n&|]*? ([\w-]+\.json)\b", text.replace("$", ""))
    return {*redirected, *invoked}


@pytest.mark.parametrize("extra", ["notes.txt", "gateway/invoke_gateway/left_over.py"])
def test_a_file_that_git_does_not_have_is_reported(extra: str, folder: Path) -> None:
    """Each way of it: too many files, and too few."""
    there = {name for name in list_sdist(folder) if name != distributions.GENERATED}
    assert find_differences(folder, there) == []
    missing = find_differences(folder, there | {extra})
    assert missing[0] == f"source distribution: {extra} is missing"
    assert len(missing) == (2 if extra in {f"gateway/{name}" for name in expect_wheel({extra})} else 1)
    without = find_differences(folder, there - {"gateway/invoke_gateway/settings.schema.json"})
    assert [line.partition(": ")[0] for line in without] == ["source distribution", "wheel"]
    assert all(line.endswith("settings.schema.json is not in git") for line in without)


def test_twine_accepts_both(folder: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(folder.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_metadata_is_the_projects(metadata: Message) -> None:
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["Summary"] == PROJECT["description"]
    assert metadata["Author"]
    assert metadata["Metadata-Version"] == "2.4"
    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert metadata.get_all("Provides-Extra") == list(PROJECT["optional-dependencies"])
    classifiers = metadata.get_all("Classifier") or []
    assert set(classifiers) <= trove_classifiers.classifiers
    versions = [found[1] for one in classifiers if (found := re.fullmatch(r".* :: (3\.\d+)", one))]
    assert versions[0] == find_oldest_python()
    assert "Typing :: Typed" in classifiers


def test_the_build_system_is_that_of_the_locked_group() -> None:
    """`make dist` builds without isolation, with what that group has installed."""
    project = read_project()
    assert set(project["build-system"]["requires"]) <= set(project["dependency-groups"]["dist"])


class Targets(HTMLParser):
    """Collects where the links and the pictures of a page lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src", "srcset")]


def show(text: str) -> str:
    """Returns the page that an index makes of a description."""
    page = render(text)
    assert page is not None
    return str(page)


def test_no_link_of_the_description_needs_a_file_beside_it(metadata: Message) -> None:
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = str(metadata.get_payload())
    assert text.startswith("# Invoke Gateway")
    page = show(text)
    assert [target for target in Targets(page).found if not target.startswith(("http://", "https://"))] == []
    # An index shows what it could not read as a link as it stands.
    assert re.findall(r"\]\([^)]*\)", re.sub(r"(?s)<pre.*?</pre>|<code>.*?</code>", "", page)) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see [docs/guides/async.md](docs/guides/async.md).", "see docs/guides/async.md."),
        ("see [the `queue`](docs/guides/async.md#queue) and [here](#install)", "see the `queue` and here"),
        ("[![alt](docs/a.png)](docs/guides/live-page.md)", ""),
        ("![The page](docs/images/page.png)\n\nnext", "\nnext"),
        ('<img alt="a" src="docs/images/page.png">\nnext', "next"),
        ('<picture>\n<source srcset="docs/a.png"><img src="docs/b.png">\n</picture>\nnext', "next"),
        ("[Lambda](https://docs.aws.amazon.com/lambda/)", "[Lambda](https://docs.aws.amazon.com/lambda/)"),
        ("![a](https://example.com/a.svg)", "![a](https://example.com/a.svg)"),
    ],
)
def test_a_link_to_a_file_becomes_its_text(text: str, shown: str) -> None:
    for one in SUBSTITUTIONS:
        text = re.sub(one["pattern"], one["replacement"], text)
    if PROJECT.get("urls"):  # then the links lead to the source
        assert all(target.startswith("https://") for target in Targets(show(text)).found)
    else:
        assert text == shown


def test_addresses_are_given_together_or_not_at_all() -> None:
    """docs/releasing.md: on the day of publication all five, and the links of the README lead to the source."""
    urls = PROJECT.get("urls", {})
    replaced = SUBSTITUTIONS[-1]["replacement"]
    if not urls:
        assert replaced == r"\1"
        assert not re.search(r"pip install (['\"])?invoke-gateway", (ROOT / "README.md").read_text())
        return
    assert set(urls) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert all(url.startswith("https://") for url in urls.values())
    assert urls["Source"] in replaced


def test_the_version_is_written_in_one_place() -> None:
    """Where it must be repeated, it is the same one: in the tags of images, and in the head of the changes."""
    version = re.escape(PROJECT["version"])
    assert re.search(rf"^## {version}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    for file in [ROOT / "README.md", *(ROOT / "docs").rglob("*")]:
        if file.suffix not in {".md", ".yaml", ".yml", ".service"} and file.name != "Dockerfile":
            continue
        text = file.read_text()
        tags = re.findall(r"invoke-gateway:(\d[\w.]*)|invoke_gateway-([\d.]+\d)", text)
        tags += re.findall(r"name: invoke-gateway\n\s+newTag: \"?([\w.]+)()", text)
        assert {one or other for one, other in tags} <= {PROJECT["version"]}, file
    for file in (ROOT / "gateway").rglob("*.py"):
        assert not re.search(rf"[\"']{version}[\"']", file.read_text()), file
