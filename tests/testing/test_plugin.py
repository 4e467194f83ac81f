"""The pytest plugin in projects of its own: what tests get, what is put back, and what those see who do not use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = "pytester"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose warnings are errors."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def test_all_tests_of_a_run_share_one_gateway_and_a_failing_one_leaves_nothing_behind(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        test_one="""
        import urllib.request

        seen = set()

        def test_first(invoke_gateway):
            seen.add(invoke_gateway.url)
            invoke_gateway.hold_all()
            invoke_gateway.fault("echo", {"error": "ServiceException"}, loop=True)
            assert 0, "on purpose"

        def test_second(invoke_gateway):
            assert invoke_gateway.in_flight() == 0
            with urllib.request.urlopen(f"{invoke_gateway.admin_url}/faults") as answer:
                assert answer.read() == b'{"faults":[]}'
            seen.add(invoke_gateway.url)
            assert len(seen) == 1
        """,
        test_two="""
        import test_one

        def test_third(invoke_gateway):
            assert test_one.seen == {invoke_gateway.url}
        """,
    )
    result = project.runpytest()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*on purpose*"])


def test_a_gateway_of_its_own_has_the_tests_limits_and_ends_with_it(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from pathlib import Path

        pids = []

        def test_first(make_invoke_gateway):
            gateways = [make_invoke_gateway(concurrent_executions=n) for n in (3, 4)]
            pids.extend(gateway._process.pid for gateway in gateways)
            assert [each.limits()["accounts"][0]["concurrent_executions"] for each in gateways] == [3, 4]
            assert 0, "on purpose"

        def test_second():
            assert len(pids) == 2
            assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        """
    )
    project.runpytest().assert_outcomes(passed=1, failed=1)


def test_a_project_says_once_which_backend_and_limits_its_gateways_have(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import threading
        from http.server import BaseHTTPRequestHandler, HTTPServer

        import pytest

        class Backend(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", "6")
                self.end_headers()
                self.wfile.write(b'"mine"')

            def log_message(self, *arguments):
                pass

        @pytest.fixture(scope="session")
        def backend():
            with HTTPServer(("127.0.0.1", 0), Backend) as server:
                thread = threading.Thread(target=server.serve_forever)
                thread.start()
                yield f"http://127.0.0.1:{server.server_port}"
                server.shutdown()
                thread.join()

        @pytest.fixture(scope="session")
        def invoke_gateway_settings(backend):
            return {"backend": backend, "reserve": {"checkout": 2}, "concurrent_executions": 10}
        """
    )
    project.makepyfile(
        """
        import urllib.request

        def call(gateway):
            url = f"{gateway.url}/2015-03-31/functions/checkout/invocations"
            with urllib.request.urlopen(url, b"{}") as answer:
                return answer.read()

        def test_shared(invoke_gateway):
            assert call(invoke_gateway) == b'"mine"'
            assert invoke_gateway.hold_all("checkout").slots == 2

        def test_own(make_invoke_gateway):
            gateway = make_invoke_gateway(concurrent_executions=20)
            assert call(gateway) == b'"mine"'
            assert gateway.hold_all("checkout").slots == 2
            assert gateway.hold_all().slots == 18
        """
    )
    project.runpytest().assert_outcomes(passed=2)


def test_settings_that_are_wrong_fail_the_tests_with_the_cure_and_without_a_traceback(
    project: pytest.Pytester,
) -> None:
    project.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def invoke_gateway_settings():
            return {"wath": True}
        """
    )
    project.makepyfile(
        "def test_shared(invoke_gateway): pass\ndef test_own(make_invoke_gateway): make_invoke_gateway()"
    )
    result = project.runpytest()
    result.assert_outcomes(errors=1, failed=1)
    result.stdout.fnmatch_lines(["*invoke-gateway ended with status 2:", "*is not a setting", "*did you mean watch?"])
    result.stdout.no_fnmatch_line("*process.py*")


def test_a_gateway_that_has_ended_is_said_to_the_next_test(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import os, signal

        def test_first(invoke_gateway):
            os.kill(invoke_gateway._process.pid, signal.SIGKILL)
            invoke_gateway._process._process.wait()

        def test_second(invoke_gateway):
            pass
        """
    )
    result = project.runpytest()
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*no gateway answers at*", "*invoke-gateway has ended before its time:*"])


def test_a_coroutine_may_use_it_too(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.asyncio
        async def test_first(invoke_gateway):
            with invoke_gateway.hold():
                assert invoke_gateway.in_flight() == 1
        """
    )
    project.runpytest().assert_outcomes(passed=1)


def test_those_who_do_not_use_it_import_nothing_of_it() -> None:
    loaded = "import sys, pytest_invoke_gateway; print([name for name in sys.modules if name.startswith('gateway')])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


PROGRAM = [str(Path(sys.executable).with_name("pytest"))]  # does not put the current directory before all packages
MODULE = [sys.executable, "-m", "pytest"]  # does


@pytest.mark.parametrize("command", [PROGRAM, MODULE], ids=["pytest", "python -m pytest"])
def test_a_project_with_a_package_of_the_same_name_is_not_disturbed(
    project: pytest.Pytester, command: list[str]
) -> None:
    project.makepyfile(
        **{
            "gateway/__init__": "MINE = True",
            "test_own": "import gateway\ndef test_own(): assert gateway.MINE",
        }
    )
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_it_can_be_switched_off(project: pytest.Pytester) -> None:
    project.makepyfile("def test_first(invoke_gateway): pass")
    result = project.runpytest("-p", "no:invoke_gateway")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'invoke_gateway' not found"])


def test_pytest_is_not_needed_to_run_a_gateway() -> None:
    blocked = "import sys; sys.modules['pytest'] = None; from invoke_gateway import cli, server, testing"
    subprocess.run([sys.executable, "-c", blocked], check=True, cwd=Path(sys.prefix))
