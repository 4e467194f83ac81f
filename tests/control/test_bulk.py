"""`/control` and `invoke-gateway control`: what operations have set is printed, set again, and dropped.

The command runs in this process, against the admin listener of a real gateway.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from invoke_gateway.settings.loading import load
from tests.cli.commands import invoke as run
from tests.control.conftest import ACCOUNT
from tests.support.lambda_backend import ControlGateway, LambdaBackend, arn_of, control_gateway
from tests.support.sockets import Answer, Wire
from tests.support.sockets import invoke as request

DEFAULT = "000000000000"
JSON = "Content-Type: application/json"
EVERYTHING: dict[str, Any] = {
    "reserved_concurrent_executions": 7,
    "recursive_loop": "Allow",
    "event_invoke": {
        "$LATEST": {"maximum_retry_attempts": 1, "on_success": arn_of("other")},
        "prod": {"maximum_event_age_seconds": 60},
    },
    "provisioned": {"prod": 2},
    "scaling": {"2": {"minimum": 1, "maximum": 2}},
}


def control(served: ControlGateway, *arguments: str) -> Result:
    return run("control", *arguments, "--admin", f"127.0.0.1:{served.server.admin.port}")


def ask(served: ControlGateway, method: str, path: str, document: object = None, *headers: str) -> Answer:
    body = b"" if document is None else json.dumps(document).encode()
    with Wire(served.server.admin.port) as wire:
        return wire.send(request("", body, *headers, method=method, path=path)).answer()


def functions_of(**functions: Any) -> dict[str, Any]:
    return {"accounts": {"default": {"functions": functions}}}


def export(served: ControlGateway) -> Any:
    return json.loads(control(served, "export", "--json").stdout)


def test_a_whole_export_sets_the_same_state_again(served: ControlGateway, client: Any, tmp_path: Path) -> None:
    client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=7)
    client.put_function_recursion_config(FunctionName="echo", RecursiveLoop="Allow")
    destination = {"OnSuccess": {"Destination": arn_of("other")}}
    client.put_function_event_invoke_config(FunctionName="echo", MaximumRetryAttempts=1, DestinationConfig=destination)
    client.put_function_event_invoke_config(FunctionName="echo", Qualifier="prod", MaximumEventAgeInSeconds=60)
    client.put_provisioned_concurrency_config(FunctionName="echo", Qualifier="prod", ProvisionedConcurrentExecutions=2)
    client.put_function_scaling_config(
        FunctionName="echo",
        Qualifier="2",
        FunctionScalingConfig={"MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 2},
    )
    client.put_function_concurrency(FunctionName="hold", ReservedConcurrentExecutions=0)
    document = export(served)
    assert document["accounts"] == functions_of(echo=EVERYTHING, hold={"reserved_concurrent_executions": 0})["accounts"]

    file = tmp_path / "control.json"
    file.write_text(json.dumps(document))
    assert control(served, "reset", "echo").output == (
        "dropped of echo: reserved_concurrent_executions, recursive_loop, event_invoke, provisioned, scaling\n"
    )
    assert "reserved" not in str(client.get_function_concurrency(FunctionName="echo"))
    assert control(served, "import", str(file)).output == "1 function changed\n"
    assert export(served)["accounts"] == document["accounts"]
    assert client.get_function_concurrency(FunctionName="echo")["ReservedConcurrentExecutions"] == 7


def test_the_printed_settings_are_settings_and_hold_the_same_limits(
    served: ControlGateway, client: Any, tmp_path: Path
) -> None:
    client.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=7)
    client.put_function_event_invoke_config(
        FunctionName="hold",
        MaximumRetryAttempts=1,
        MaximumEventAgeInSeconds=60,
        DestinationConfig={"OnFailure": {"Destination": arn_of("other")}},
    )
    client.put_provisioned_concurrency_config(FunctionName="echo", Qualifier="1", ProvisionedConcurrentExecutions=2)
    printed = control(served, "export")
    assert printed.exit_code == 0, printed.output
    rules = {"maximum_retry_attempts": 1, "maximum_event_age_seconds": 60, "on_failure": arn_of("other")}
    slots = {"reserved_concurrent_executions": 7, "provisioned_concurrent_executions": {"1": 2}}
    assert yaml.safe_load(printed.output) == functions_of(echo=slots, hold=rules)
    assert (
        "# - hold of account default: the operations have set its rules of events for $LATEST alone" in printed.output
    )

    file = tmp_path / "gateway.yaml"
    file.write_text(printed.output)
    functions = load(file).accounts["default"].functions
    assert functions["echo"].reserved_concurrent_executions == 7
    assert functions["echo"].provisioned_concurrent_executions == {"1": (2, "1")}
    assert functions["hold"].on_failure == arn_of("other")
    # It is read back as well: what has no comment is the same.
    assert control(served, "reset", "hold").exit_code == 0
    assert control(served, "import", str(file)).output == "1 function changed\n"
    assert export(served)["accounts"]["default"]["functions"]["hold"] == {"event_invoke": {"$LATEST": rules}}


def test_an_export_of_nothing_says_so(served: ControlGateway) -> None:
    assert control(served, "export").output.endswith("# Nothing is set.\n")
    assert export(served)["accounts"] == {}


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"reserved_concurrent_executions": -1}, "reserved_concurrent_executions", "greater than or equal to 0"),
    ({"reserved_concurrent_executions": "7"}, "reserved_concurrent_executions", "InvalidRequestContentException"),
    ({"reserved_concurrent_executions": 101}, "reserved_concurrent_executions", "below its minimum value of [100]"),
    ({"recursive_loop": "Deny"}, "recursive_loop", "enum value set"),
    ({"requests_per_second": 5}, "requests_per_second", "Keep it in the settings file"),
    ({"maximum_retry_attempts": 3}, "", "less than or equal to 2"),
    ({"on_success": "https://example.com/"}, "", "destinationConfig.onSuccess.destination"),
    ({"event_invoke": {"prod": {"reserved": 1}}}, "event_invoke.prod", "keys other than"),
    ({"event_invoke": []}, "event_invoke", "no mapping by version or alias"),
    ({"provisioned": {"missing": 1}}, "provisioned.missing", "Cannot find alias arn"),
    (
        {"provisioned_concurrent_executions": {"missing": {"version": "7", "slots": 1}}},
        "provisioned_concurrent_executions.missing",
        "Cannot find alias arn",
    ),
    ({"provisioned": {"$LATEST": 1}}, "provisioned.$LATEST", "unpublished"),
    ({"scaling": {"1": {"minimum": 5, "maximum": 1}}}, "scaling.1", "greater than"),
]


def test_all_mistakes_are_reported_and_nothing_is_set(served: ControlGateway, client: Any, tmp_path: Path) -> None:
    client.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=1)
    before = served.state
    functions = {"echo": {"reserved_concurrent_executions": 1}, "missing": {"recursive_loop": "Allow"}}
    functions |= {"a:1": {"recursive_loop": "Allow"}, "bare": []}
    document = functions_of(**functions) | {"listen": "127.0.0.1:1"}
    document["accounts"]["default"]["concurrent_executions"] = 3
    document["accounts"]["999999999999"] = {}
    answer = ask(served, "POST", "/control", document, JSON)
    assert answer.status == 400
    assert answer.json["error"] == "6 values are refused. Nothing was changed."
    assert {mistake["key"] for mistake in answer.json["mistakes"]} == {
        "accounts.default.functions.missing.recursive_loop",
        "accounts.default.functions.a:1",
        "accounts.default.functions.bare",
        "accounts.default.concurrent_executions",
        "accounts.999999999999",
        "listen",
    }
    assert served.state == before

    file = tmp_path / "control.yaml"
    file.write_text(yaml.safe_dump(document))
    failed = control(served, "import", str(file))
    assert failed.exit_code == 1
    assert len(failed.output.splitlines()) == 7
    assert failed.output.splitlines()[-1] == "invoke-gateway: 6 values are refused. Nothing was changed."


@pytest.mark.parametrize(("values", "key", "text"), MISTAKES, ids=[str(values) for values, _, _ in MISTAKES])
def test_a_value_is_refused_as_by_its_operation(
    served: ControlGateway, values: dict[str, Any], key: str, text: str
) -> None:
    answer = ask(served, "POST", "/control", functions_of(echo=values, hold={"recursive_loop": "Allow"}), JSON)
    (mistake,) = answer.json["mistakes"]
    assert mistake["key"] == f"accounts.default.functions.echo.{key}".rstrip(".")
    assert text in mistake["text"]
    assert served.state.accounts == {}


def test_slots_are_freed_before_they_are_taken(served: ControlGateway, client: Any) -> None:
    """In any other order one of the two would be refused by the floor, or by the provisioned concurrency."""
    client.put_function_concurrency(FunctionName="hold", ReservedConcurrentExecutions=90)
    client.put_provisioned_concurrency_config(FunctionName="echo", Qualifier="1", ProvisionedConcurrentExecutions=8)
    wanted = {
        "echo": {"provisioned": {"1": 2, "2": 70}, "reserved_concurrent_executions": 80},
        "hold": {"reserved_concurrent_executions": 20},
    }
    assert ask(served, "POST", "/control", functions_of(**wanted), JSON).status == 200
    assert export(served)["accounts"] == functions_of(**wanted)["accounts"]


def test_a_change_that_comes_between_is_not_lost(
    served: ControlGateway, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = served.server.gateway.admin._bulk
    assert bulk is not None
    run_steps, calls = bulk._run, []

    async def run_and_change(*arguments: Any) -> Any:
        made = await run_steps(*arguments)
        if not calls:
            store = served.server.gateway.control_store
            assert store is not None
            await store.change(lambda state: state.with_function(DEFAULT, "other", made.function(DEFAULT, "echo")))
        calls.append(arguments)
        return made

    monkeypatch.setattr(bulk, "_run", run_and_change)
    wanted = {"reserved_concurrent_executions": 3}
    assert ask(served, "POST", "/control", functions_of(echo=wanted), JSON).status == 200
    assert len(calls) == 2
    assert export(served)["accounts"] == functions_of(echo=wanted, other=wanted)["accounts"]


def test_what_is_no_document_and_what_is_not_set_is_refused(served: ControlGateway, tmp_path: Path) -> None:
    assert ask(served, "POST", "/control", {"accounts": []}, JSON).json["mistakes"][0]["key"] == "accounts"
    assert ask(served, "POST", "/control", []).status == 415
    assert ask(served, "POST", "/control", [], JSON).status == 400
    assert ask(served, "DELETE", "/control").status == 400
    missing = ask(served, "DELETE", "/control?function=echo")
    assert (missing.status, missing.json["error"][:28]) == (404, "Nothing is set for echo of a")
    assert control(served, "reset", "echo").exit_code == 1
    file = tmp_path / "list.yaml"
    file.write_text("- 1\n")
    assert "is no mapping" in control(served, "import", str(file)).output
    file.write_text("accounts: {}\n")
    assert "has no account 111122223333" in control(served, "import", str(file), "--account", "111122223333").output


def test_an_account_of_the_settings_is_named_by_its_id_and_by_a_credential(tmp_path: Path) -> None:
    named = "111122223333"
    with control_gateway(
        LambdaBackend("echo"), accounts={"default": ACCOUNT, named: ACCOUNT}, credentials={"AKIAEXAMPLE": named}
    ) as gateway:
        file = tmp_path / "control.yaml"
        values = {"reserved_concurrent_executions": 3}
        accounts = {name: {"functions": {"echo": values}} for name in (named, "default")}
        file.write_text(yaml.safe_dump({"accounts": accounts}))
        assert control(gateway, "import", str(file), "--account", named).output == "1 function changed\n"
        assert gateway.state.function(named, "echo").reserved_concurrent_executions == 3
        assert gateway.state.functions(DEFAULT) == {}
        assert control(gateway, "import", str(file)).output == "1 function changed\n"
        one = json.loads(control(gateway, "export", "--json", "--account", named).stdout)
        assert one["accounts"] == {named: accounts[named]}
        assert control(gateway, "reset", "echo", "--account", named).exit_code == 0
        assert gateway.state.functions(named) == {}
        assert gateway.state.function(DEFAULT, "echo").reserved_concurrent_executions == 3
