"""`serve`: flags, variables and file become settings, and mistakes are listed at once."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from invoke_gateway.settings import Address, Settings, load
from invoke_gateway.settings.flags import all_flags
from invoke_gateway.settings.paths import settable
from tests.cli.commands import invoke


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


def serve(started: Started, *arguments: str, **environment: str) -> Settings:
    result = invoke("serve", *arguments, **environment)
    assert result.exit_code == 7, result.output
    assert started.settings is not None
    return started.settings


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


@pytest.mark.parametrize(
    "arguments",
    [
        ("--reserve", "a=1,b=2,my.c=3"),
        ("--reserve", "a=1, b=2,", "--reserve", "my.c=3"),
        ("--reserve=a=1", "--reserve=b=2", "--reserve=my.c=3"),
    ],
)
def test_a_flag_of_reservations_takes_a_list_as_its_variable_does(started: Started, arguments: tuple[str, ...]) -> None:
    functions = serve(started, *arguments).accounts["default"].functions
    assert functions == serve(started, RESERVE=" a=1,b=2 ,my.c=3,").accounts["default"].functions
    assert [limit.reserved_concurrent_executions for limit in functions.values()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("checkout:50", "'checkout:50' is not NAME=N\n      -> write checkout=50\n"),
        ("a=1,checkout 50", "'checkout 50' is not NAME=N\n      -> write checkout=50\n"),
        ("", "'' is not NAME=N\n      -> write it as checkout=50\n"),
        (
            "a=1,a=2",
            "  accounts.default.functions.a.reserved_concurrent_executions  (--reserve)\n      is given twice\n",
        ),
        ("a=1k,b=5.5", "it is the text '1k'\n      -> write 1000\n"),
        ("a=1k,b=5.5", "it is the text '5.5'\n"),
    ],
)
def test_each_mistake_in_a_list_of_reservations_is_reported(started: Started, text: str, words: str) -> None:
    result = invoke("serve", "--reserve", text)
    assert (result.exit_code, started.settings) == (2, None)
    assert words in result.stderr


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
        ([], {"ACCESS_LOG": "-"}, "access_log", "-"),
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


def test_the_variable_of_the_admin_token_takes_its_place_or_the_token_itself(started: Started) -> None:
    token = "INVOKE_GATEWAY_ADMIN_TOKEN"
    assert serve(started, ADMIN_TOKEN="3f2a0c").admin_token == f"env:{token}"
    assert serve(started, "--admin-token", "env:HOME", ADMIN_TOKEN="3f2a0c").admin_token == "env:HOME"
    assert serve(started, ADMIN_TOKEN="env:HOME").admin_token == "env:HOME"
    assert serve(started, ADMIN_TOKEN="null").admin_token is None
    assert serve(started, ADMIN_TOKEN="").admin_token is None
    result = invoke("serve", "--admin-token", "3f2a0c")
    assert result.exit_code == 2
    assert (
        "admin_token  (--admin-token)\n      does not name the place of a secret\n      -> write env:NAME"
        in result.stderr
    )
    assert "3f2a0c" not in result.stderr


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
    assert "the slot is released, because the backend is taken to have ended the call. [default: 900]" in flat
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
        f"  lisen  ({file}:1:1)\n      is not a setting\n      -> did you mean listen?\n",
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
