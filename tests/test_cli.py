"""The command: its flags and variables, its answers and its exit statuses."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import invoke_gateway
from invoke_gateway import holding
from invoke_gateway.admin.holds import HoldRequest
from invoke_gateway.admin.in_flight import merge
from invoke_gateway.cli import limits_table as live_table
from invoke_gateway.cli.main import main
from invoke_gateway.settings import Address, Settings, json_schema, load
from invoke_gateway.settings.flags import all_flags
from invoke_gateway.settings.paths import settable
from tests.support.sockets import Gateway
from tests.support.sockets import gateway as serving

LIMITS: dict[str, Any] = {
    "accounts": [
        {
            "account": "000000000000",
            "concurrent_executions": 10,
            "in_flight": 3,
            "unreserved": {"ceiling": 8, "in_flight": 1},
            "throttles": {"ConcurrentInvocationLimitExceeded": 4},
            "functions": [
                {
                    "function": "checkout",
                    "in_flight": 2,
                    "ceiling": 2,
                    "reserved": True,
                    "oldest_seconds": 1.2,
                    "throttles": {"ReservedFunctionConcurrentInvocationLimitExceeded": 3},
                },
                {"function": "[red]x[/red]", "in_flight": 1, "ceiling": 8, "reserved": False, "throttles": {}},
            ],
            "functions_left_out": 7,
        }
    ],
    "draining": False,
}


class Started:
    """Stands in for invoke_gateway.server.run: keeps what `serve` hands over."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.reload: Any = None
        self.config: Path | None = None

    def run(self, settings: Settings, *, reload: Any, config: Path | None, serve: Any = None) -> int:
        self.settings, self.reload, self.config = settings, reload, config
        return 7


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    started, module = Started(), ModuleType("invoke_gateway.server.run")
    module.run = started.run  # a module made here
    monkeypatch.setitem(sys.modules, "invoke_gateway.server.run", module)
    return started


def invoke(*arguments: str, **environment: str) -> Result:
    variables = {f"INVOKE_GATEWAY_{name}": value for name, value in environment.items()}
    return CliRunner().invoke(main, list(arguments), env=variables, prog_name="invoke-gateway")


def serve(started: Started, *arguments: str, **environment: str) -> Settings:
    result = invoke("serve", *arguments, **environment)
    assert result.exit_code == 7, result.output
    assert started.settings is not None
    return started.settings


# serve


def test_serve_without_anything_runs_the_defaults_and_exits_with_the_servers_status(started: Started) -> None:
    assert serve(started) == load()
    assert started.config is None


def test_the_line_from_the_readme_works(started: Started) -> None:
    line = "--backend http://127.0.0.1:4566 --concurrent-executions 10 --reserve checkout=2"
    settings = serve(started, *line.split())
    assert settings.backend.url == "http://127.0.0.1:4566"
    account = settings.accounts["default"]
    assert (account.concurrent_executions, account.reserved, account.unreserved) == (10, 2, 8)


def test_flags_go_over_environment_over_file(started: Started, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("max_headers: 1\nmax_connections: 1\ndrain_seconds: 1\n")
    environment = {"MAX_CONNECTIONS": "2", "DRAIN_SECONDS": "2"}
    settings = serve(started, "--config", str(file), "--drain-seconds", "3", **environment)
    assert (settings.max_headers, settings.max_connections, settings.drain_seconds) == (1, 2, 3)
    assert serve(started, CONFIG=str(file)).max_headers == 1
    assert started.config == file


def test_reload_reads_the_file_again_under_the_same_flags(started: Started, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("accounts: {default: {concurrent_executions: 10}}")
    serve(started, "--config", str(file), "--reserve", "checkout=2")
    file.write_text("accounts: {default: {concurrent_executions: 20}}")
    account = started.reload().accounts["default"]
    assert (account.concurrent_executions, account.reserved) == (20, 2)


def test_reservations_of_the_environment_and_of_flags_add_up_and_flags_win(started: Started) -> None:
    settings = serve(started, "--reserve", "b=3", "--reserve", "my.c=4", RESERVE="a=1, b=2,")
    functions = settings.accounts["default"].functions
    assert {name: limit.reserved_concurrent_executions for name, limit in functions.items()} == {
        "a": 1,
        "b": 3,
        "my.c": 4,
    }


def test_tables_are_given_as_yaml_and_single_limits_go_into_them(started: Started) -> None:
    accounts = '{default: {concurrent_executions: 5}, "111122223333": {requests_per_second: off}}'
    settings = serve(
        started,
        *("--accounts", accounts, "--requests-per-second", "2.5"),
        CREDENTIALS='{"AKIA": "111122223333"}',
        CONCURRENT_EXECUTIONS="9",  # the flag above replaces the whole table
    )
    assert settings.accounts["default"].concurrent_executions == 5
    assert settings.accounts["default"].requests_per_second == 2.5
    assert settings.accounts["111122223333"].requests_per_second == "off"
    assert settings.credentials == {"AKIA": "111122223333"}


@pytest.mark.parametrize(
    ("arguments", "environment", "key", "value"),
    [
        (["--watch", "--no-watch"], {}, "watch", False),
        (["--no-decision-header"], {"DECISION_HEADER": "true"}, "decision_header", False),
        ([], {"DECISION_HEADER": "off"}, "decision_header", False),
        ([], {"ACCESS_LOG": "1"}, "access_log", True),
        ([], {"MAX_HEADERS": ""}, "max_headers", 128),
        ([], {"MAX_HEADERS": " 7 "}, "max_headers", 7),
        (["--listen", "[::1]:0"], {}, "listen", Address("::1", 0)),
    ],
)
def test_text_is_read_by_the_kind_of_its_key(
    started: Started, arguments: list[str], environment: dict[str, str], key: str, value: object
) -> None:
    assert getattr(serve(started, *arguments, **environment), key) == value


@pytest.mark.parametrize("text", ["http://a,http://b:1", ' ["http://a", "http://b:1"] ', "http://a , http://b:1,"])
def test_a_list_of_texts_is_read_from_one_flag_or_variable(started: Started, text: str) -> None:
    for settings in (serve(started, "--cors-allow-origins", text), serve(started, CORS_ALLOW_ORIGINS=text)):
        assert settings.cors.allow_origins == ("http://a", "http://b:1")
    assert serve(started, "--cors-allow-origins", "*").cors.allow_origins == ("*",)


def test_the_backend_goes_by_its_short_and_its_full_name(started: Started) -> None:
    assert serve(started, BACKEND="http://a").backend.url == "http://a"
    assert serve(started, BACKEND_URL="http://b").backend.url == "http://b"
    assert serve(started, "--backend-url", "http://c").backend.url == "http://c"


def test_null_takes_back_what_the_file_sets(started: Started, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("backend: {function_path: function}")
    arguments = ["--config", str(file), "--backend-function-path", "null"]
    assert serve(started, *arguments).backend.function_path is None


def test_every_key_has_its_flag_and_its_variable() -> None:
    flags = {flag.path: flag for flag in all_flags()}
    assert {path for path, _ in settable(Settings)} <= set(flags)
    assert flags["read_timeout_seconds",].variables == ("INVOKE_GATEWAY_READ_TIMEOUT_SECONDS",)
    assert flags["quotas", "event_request"].names == ("quotas-event-request",)
    assert flags["accounts", "default", "unreserved_floor"].names == ("unreserved-floor",)
    names = [name for flag in flags.values() for name in flag.names]
    assert len(names) == len(set(names))


def test_the_help_of_serve_shows_every_flag_under_a_heading_with_unit_and_default() -> None:
    result = invoke("serve", "--help")
    assert result.exit_code == 0
    for flag in all_flags():
        assert f"--{flag.names[0]}" in result.output
    for heading in ("Listeners:", "Backend:", "Limits:", "Payload quotas:", "Operation:"):
        assert heading in result.output
    flat = " ".join(result.output.split())
    assert "the slot is given back because the backend is taken to have ended the call. [default: 900]" in flat
    assert "Pydantic" not in flat


def test_all_mistakes_of_file_flags_and_environment_are_listed_and_nothing_starts(
    started: Started, tmp_path: Path
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("lisen: 1\n")
    arguments = ["--config", str(file), "--max-headers", "many", "--reserve", "checkout", "--reserve", "b=x"]
    result = invoke("serve", *arguments, DRAIN_SECONDS="long", WACTH="1")
    assert result.exit_code == 2
    assert started.settings is None
    assert result.stdout == ""
    assert result.stderr.startswith("invoke-gateway: 6 mistakes in the settings\n")
    for expected in (
        f"  lisen  ({file})\n      is not a setting\n      -> did you mean listen?\n",
        "  max_headers  (--max-headers)\n      must be a whole number from 1 to 1000000000; it is the text 'many'\n",
        "  --reserve\n      'checkout' is not NAME=N\n      -> write it as checkout=50\n",
        "  accounts.default.functions.b.reserved_concurrent_executions  (--reserve)\n",
        "  drain_seconds  (INVOKE_GATEWAY_DRAIN_SECONDS)\n",
        "  INVOKE_GATEWAY_WACTH\n      is not a setting\n      -> did you mean INVOKE_GATEWAY_WATCH?\n",
    ):
        assert expected in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--reserve", "a=1", "--reserve", "a=2"],
        ["--reserve", "=1"],
        ["--reserve", 'a"b=1'],
        ["--reserve", "a:1=2"],
        ["--accounts", "[1"],
        ["--accounts", "5"],
        ["--credentials", "{a: 1}"],
        ["--listen", "\udcff"],
        ["--config", ""],
        ["--config", "/nowhere.yaml"],
        ["--tls-key", "/nowhere.pem"],
        ["--backend-timeout-seconds", "nan"],
        ["--no-such-flag"],
    ],
)
def test_whatever_is_wrong_on_the_command_line_ends_in_words_and_status_2(
    started: Started, arguments: list[str]
) -> None:
    result = invoke("serve", *arguments)
    assert (result.exit_code, started.settings) == (2, None)
    assert result.stderr
    assert "Traceback" not in result.output


def test_what_kubernetes_puts_into_the_environment_is_no_mistake(started: Started) -> None:
    serve(
        started,
        SERVICE_HOST="10.0.0.1",
        SERVICE_PORT="9001",
        SERVICE_PORT_HTTP="9001",
        PORT="tcp://10.0.0.1:9001",
        PORT_9001_TCP="tcp://10.0.0.1:9001",
        PORT_9001_TCP_ADDR="10.0.0.1",
        ADMIN_SERVICE_HOST="10.0.0.2",
    )


# check, schema and the command itself


def test_check_says_ok_and_shows_what_each_account_gets(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    ports = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
    file.write_text(ports + 'accounts: {"111122223333": {concurrent_executions: 50, unreserved_floor: 10}}')
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


def test_check_looks_at_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n")
    assert invoke("check", str(file), MAX_HEADERS="many").exit_code == 0


def test_schema_prints_the_shipped_schema() -> None:
    assert invoke("schema").output == json_schema()


def test_the_module_is_the_command_and_without_arguments_helps_with_an_example() -> None:
    process = subprocess.run([sys.executable, "-m", "invoke_gateway"], capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert process.stderr.startswith("Usage: invoke-gateway ")
    assert "invoke-gateway serve --backend demo" in process.stderr


def test_the_version_is_the_distributions() -> None:
    assert invoke("--version").output == f"invoke-gateway, version {invoke_gateway.__version__}\n"


# limits


@contextmanager
def admin(answer: str, status: int = 200) -> Iterator[str]:
    """An admin listener that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer.encode()
            self.send_response(status if self.path == "/limits" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_limits_shows_account_pool_and_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # which a local gateway is never asked through
    with admin(json.dumps(LIMITS)) as address:
        result = invoke("limits", "--admin", address, "--once")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.output.splitlines()]
    assert ["000000000000", "all", "3", "10", "ConcurrentInvocationLimitExceeded", "4"] in rows
    assert ["unreserved", "1", "8"] in rows
    checkout = ["checkout", "2", "2", "1.2", "s", "ReservedFunctionConcurrentInvocationLimitExceeded", "3"]
    assert checkout in rows
    assert ["[red]x[/red]", "1", "8", "shared"] in rows
    assert ["and", "7", "more"] in rows


def test_a_full_lane_stands_out() -> None:
    console = Console(width=160, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(live_table.render(LIMITS))
    (checkout,) = [line for line in capture.get().splitlines() if "checkout" in line]
    (unreserved,) = [line for line in capture.get().splitlines() if "unreserved" in line]
    assert "\x1b[1;31m" in checkout
    assert "\x1b[1;31m" not in unreserved


def test_slots_held_on_purpose_are_marked() -> None:
    row = {"function": "checkout", "in_flight": 3, "holds": 2, "ceiling": 3}
    account = {"account": "000000000000", "in_flight": 4, "holds": 2, "concurrent_executions": 10, "functions": [row]}
    console = Console(width=160)
    with console.capture() as capture:
        console.print(live_table.render({"accounts": [account]}))
    rows = [line.split() for line in capture.get().splitlines()]
    assert ["000000000000", "all", "4", "(2", "held)", "10"] in rows
    assert ["checkout", "3", "(2", "held)", "3"] in rows


def render_shared(**shared: object) -> str:
    """The table of a gateway that has two of three calls."""
    row = {"function": "checkout", "in_flight": 3, "in_flight_here": 2, "ceiling": 3, "oldest_seconds": 1.5}
    other = {"function": "search", "in_flight": 1, "in_flight_here": 0, "ceiling": 9, "oldest_seconds": 0.0}
    account = {
        "account": "000000000000",
        "concurrent_executions": 10,
        "in_flight": 4,
        "in_flight_here": 2,
        "functions": [row, other],
    }
    described = {"gateway": "g-7f3a2b1c", "gateways": 3, "sums_age_seconds": 0.01, "trouble": None, **shared}
    console = Console(width=160)
    with console.capture() as capture:
        console.print(live_table.render({"accounts": [account], "shared": described}))
    return capture.get()


def test_of_shared_counters_the_table_has_the_calls_of_all_gateways_and_those_here() -> None:
    rows = [line.split() for line in render_shared().splitlines()]
    assert rows[1][:8] == ["account", "function", "in", "flight", "here", "ceiling", "oldest", "call"]
    assert ["000000000000", "all", "4", "2", "10"] in rows
    assert ["checkout", "3", "2", "3", "1.5", "s"] in rows
    assert ["search", "1", "0", "9"] in rows  # the age of a call elsewhere is not known here


def test_of_shared_counters_the_table_says_whose_calls_they_are() -> None:
    text = render_shared()
    assert "3 gateways share these counters; here 2 of 4" in text
    assert "ages and throttles are of this gateway, g-7f3a2b1c" in text
    assert "other gateways share these counters; here 2 of 4" in render_shared(gateways=1)
    workers = "3 processes share these counters, 2 of them workers of this gateway; here 2 of 4"
    assert workers in render_shared(workers=2)
    alone = {"accounts": [], "shared": {"gateway": "g-7f3a2b1c", "gateways": 1, "sums_age_seconds": 0.0}}
    console = Console(width=160)
    with console.capture() as capture:
        console.print(live_table.render(alone))
    assert "no other gateway shares these counters now; here 0 of 0" in capture.get()


def test_of_shared_counters_the_table_says_what_is_wrong_with_the_store() -> None:
    trouble = "The shared counters do not answer: no answer within 0.25 s."
    assert trouble in render_shared(trouble=trouble)
    assert "what other gateways run was so 75 s ago" in render_shared(sums_age_seconds=75.2)
    assert "the store has not said yet what other gateways run" in render_shared(sums_age_seconds=None)
    assert not any(words in render_shared() for words in (trouble, "ago", "not said"))


def test_draining_is_said_above_the_table() -> None:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(live_table.render({"accounts": [], "draining": True}))
    assert "draining: no new calls are admitted" in capture.get()


def test_limits_as_json_is_the_gateways_answer() -> None:
    with admin(json.dumps(LIMITS)) as address:
        result = invoke("limits", "--json", ADMIN=address)
    assert json.loads(result.output) == LIMITS


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ("{}", 200, "answered something else: is this the admin listener?"),
        ("<html>", 200, "answered something else"),
        ("{}", 404, "answered 404: is this the admin listener?"),
    ],
)
def test_an_answer_of_something_else_is_said_and_exits_with_1(answer: str, status: int, words: str) -> None:
    with admin(answer, status) as address:
        result = invoke("limits", "--admin", address)
    assert result.exit_code == 1
    assert words in result.stderr


def test_no_gateway_is_said_and_exits_with_1() -> None:
    with admin("{}") as address:
        pass  # closed again: nothing listens there now
    result = invoke("limits", "--admin", address)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"invoke-gateway: no gateway answers at {address}")


def test_a_wrong_admin_address_exits_with_2() -> None:
    result = invoke("limits", "--admin", "nowhere")
    assert result.exit_code == 2
    assert "must be host:port" in result.stderr


def test_the_live_table_asks_again_every_second_until_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Address] = []
    waits: list[float] = []

    def fetch(address: Address) -> dict[str, Any]:
        asked.append(address)
        return LIMITS

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(live_table, "fetch_limits", fetch)
    monkeypatch.setattr(live_table.time, "sleep", wait)
    console = Console(width=160)
    with console.capture():
        live_table.show_live(console, Address("127.0.0.1", 9002))
    assert len(asked) == 3
    assert waits == [1.0, 1.0, 1.0]


# hold and release


RESERVED = {"default": {"concurrent_executions": 5, "functions": {"checkout": {"reserved_concurrent_executions": 2}}}}


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with serving(accounts=RESERVED) as started:
        yield started


class Waits:
    """Stands in for `time` in `holding`: notes what the gateway holds at each wait, and interrupts one of them."""

    def __init__(self, served: Gateway, interrupted: int = 0) -> None:
        self.now = 0.0
        self.held: list[dict[str, int]] = []
        self._served = served
        self._interrupted = interrupted

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.held.append(self._served.held())
        if len(self.held) == self._interrupted:
            raise KeyboardInterrupt


def ask(served: Gateway, *arguments: str) -> Result:
    return invoke(*arguments, "--admin", str(served.server.admin))


CHECKOUT_HELD = {"000000000000/function/checkout": 2, "000000000000/account": 2}


def test_a_hold_says_what_it_holds_and_how_to_end_it_and_lasts_until_ctrl_c(
    served: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Waits(served, interrupted=2)
    monkeypatch.setattr(holding, "time", waits)
    result = ask(served, "hold", "checkout", "--slots", "2")
    id = result.output.partition("; id ")[2].partition(";")[0]
    ending = f"Ctrl-C or `invoke-gateway release {id} --admin {served.server.admin}` ends it"
    assert result.output == f"holding 2 of checkout for 30 s; id {id}; {ending}\n"
    assert result.exit_code == 0
    assert waits.held == [CHECKOUT_HELD, CHECKOUT_HELD]
    assert served.held() == {}


def test_a_hold_ends_when_its_seconds_are_over(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(served)
    monkeypatch.setattr(holding, "time", waits)
    result = ask(served, "hold", "--slots", "3", "--seconds", "2.5", "--account", "111122223333")
    shared = "holding 3 of the unreserved pool in account 000000000000 (which 111122223333 shares) for 2.5 s; id "
    assert result.output.startswith(shared)
    assert (result.exit_code, waits.now, len(waits.held)) == (0, 2.5, 3)
    assert served.held() == {}


def test_a_terminal_shows_the_seconds_that_are_left(
    served: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(holding, "time", Waits(served))
    holding.wait_for_end(2, is_terminal=True)
    shown = [piece.strip() for piece in capsys.readouterr().out.split("\r")]
    assert [piece for piece in shown if piece] == ["2 s left", "1 s left"]


def test_a_detached_hold_prints_its_id_and_lasts_until_it_is_released(served: Gateway) -> None:
    result = ask(served, "hold", "checkout", "--slots", "2", "--detach")
    id = result.output.strip()
    assert (result.exit_code, result.output) == (0, f"{id}\n")
    assert served.held() == CHECKOUT_HELD
    released = ask(served, "release", id)
    assert (released.exit_code, released.output) == (0, f"released {id}\n")
    assert served.held() == {}
    again = ask(served, "release", id)
    assert again.exit_code == 1
    assert again.stderr.startswith(f"invoke-gateway: there is no hold {id}: it has ended, or never was.")


def test_the_gateways_own_hint_is_short_where_it_listens_as_usual() -> None:
    hold = {"id": "1", "account": "000000000000", "function": "checkout", "slots": 2}
    line = "holding 2 of checkout for 30 s; id 1; Ctrl-C or `invoke-gateway release 1` ends it"
    assert holding.describe_hold(hold, {"seconds": 30.0}, "invoke-gateway release 1") == line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("checkout", "--slots", "3"), "leaves no room for 3 slots of checkout: 0 of 2 in use"),
        (("checkout:live",), "function must be a plain function name"),
        (("--account", "me"), "account must be a text of 12 digits"),
    ],
)
def test_a_hold_that_is_not_to_be_had_is_one_line_and_exits_with_1(
    served: Gateway, arguments: tuple[str, ...], words: str
) -> None:
    result = ask(served, "hold", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("invoke-gateway: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [("hold", "checkout"), ("release", "1")])
def test_where_no_gateway_answers_hold_and_release_say_so_and_exit_with_1(command: tuple[str, ...]) -> None:
    with admin("{}") as address:
        result = invoke(*command, "--admin", address)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "answered 501: is this the admin listener?" in result.stderr
    result = invoke(*command, "--admin", address)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"invoke-gateway: no gateway answers at {address}")


@pytest.mark.parametrize("arguments", [("--slots", "0"), ("--seconds", "0"), ("--admin", "nowhere")])
def test_a_wrong_option_of_hold_exits_with_2(arguments: tuple[str, ...]) -> None:
    assert invoke("hold", *arguments).exit_code == 2


def test_every_command_and_flag_in_the_page_on_holds_exists() -> None:
    text = (Path(__file__).parent.parent / "docs" / "holds.md").read_text()
    shown = re.findall(r"^\$ invoke-gateway ([\w-]+)(.*)", text, re.MULTILINE)
    assert {command for command, _ in shown} == {"serve", "hold", "in-flight", "limits", "release"}
    for command, arguments in shown:
        options = {name for parameter in main.commands[command].params for name in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", arguments)) <= options, command
    of_holds, _, of_holders = text.partition("## Who holds the slots")
    assert re.findall(r"^\| `(\w+)`", of_holds, re.MULTILINE) == list(HoldRequest.__struct_fields__)
    assert re.findall(r"^\| `(\w+)`", of_holders, re.MULTILINE) == [*merge([], 1), "trouble"]
