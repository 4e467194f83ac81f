"""`hold` and `release`: slots are held until a command, the time or Ctrl-C ends the hold."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result

from invoke_gateway.admin.holds import HoldRequest
from invoke_gateway.admin.in_flight import merge
from invoke_gateway.cli import hold as hold_module
from invoke_gateway.cli.hold import describe_hold, wait_for_end
from tests.cli.commands import admin, flags_of, invoke
from tests.support.sockets import Gateway
from tests.support.sockets import gateway as serving

RESERVED = {"default": {"concurrent_executions": 5, "functions": {"checkout": {"reserved_concurrent_executions": 2}}}}


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with serving(accounts=RESERVED) as started:
        yield started


class Waits:
    """Stands in for `time` in cli/hold.py: notes what the gateway holds at each wait, and interrupts one of them."""

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
    monkeypatch.setattr(hold_module, "time", waits)
    result = ask(served, "hold", "checkout", "--slots", "2")
    id = result.output.partition("; id ")[2].partition(";")[0]
    ending = f"Ctrl-C or `invoke-gateway release {id} --admin {served.server.admin}` ends it"
    assert result.output == f"holding 2 of checkout for 30 s; id {id}; {ending}\n"
    assert result.exit_code == 0
    assert waits.held == [CHECKOUT_HELD, CHECKOUT_HELD]
    assert served.held() == {}


def test_a_hold_ends_when_its_seconds_are_over(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(served)
    monkeypatch.setattr(hold_module, "time", waits)
    result = ask(served, "hold", "--slots", "3", "--seconds", "2.5", "--account", "111122223333")
    shared = "holding 3 of the unreserved pool in account 000000000000 (which 111122223333 shares) for 2.5 s; id "
    assert result.output.startswith(shared)
    assert (result.exit_code, waits.now, len(waits.held)) == (0, 2.5, 3)
    assert served.held() == {}


def test_a_terminal_shows_the_seconds_that_are_left(
    served: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hold_module, "time", Waits(served))
    wait_for_end(2, is_terminal=True)
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
    assert again.stderr.startswith(f"invoke-gateway: there is no hold {id}: it has ended, or never existed.")


def test_the_gateways_own_hint_is_short_where_it_listens_as_usual() -> None:
    hold = {"id": "1", "account": "000000000000", "function": "checkout", "slots": 2}
    line = "holding 2 of checkout for 30 s; id 1; Ctrl-C or `invoke-gateway release 1` ends it"
    assert describe_hold(hold, {"seconds": 30.0}, "invoke-gateway release 1") == line


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
    text = (Path(__file__).parents[2] / "docs" / "guides" / "holds.md").read_text()
    shown = re.findall(r"^\$ invoke-gateway ([\w-]+)(.*)", text, re.MULTILINE)
    assert {command for command, _ in shown} == {"serve", "hold", "in-flight", "limits", "release"}
    for command, arguments in shown:
        assert set(re.findall(r"--[a-z-]+", arguments)) <= flags_of(command, arguments), command
    of_holds, _, of_holders = text.partition("## Calls in flight")
    assert re.findall(r"^\| `(\w+)`", of_holds, re.MULTILINE) == list(HoldRequest.__struct_fields__)
    assert re.findall(r"^\| `(\w+)`", of_holders, re.MULTILINE) == [*merge([], 1), "trouble"]
