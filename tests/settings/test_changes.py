"""A reload says in short what it changes, and shows no secret."""

from __future__ import annotations

from typing import Any

import pytest

from invoke_gateway.settings import Settings
from invoke_gateway.settings.changes import describe_changes


def settings(functions: dict[str, Any] | None = None, **more: Any) -> Settings:
    default = {"functions": functions or {}, **more.pop("default", {})}
    return Settings.model_validate({"accounts": {"default": default, **more.pop("accounts", {})}, **more})


def reserved(slots: int | None, **more: Any) -> dict[str, Any]:
    return {"reserved_concurrent_executions": slots, **more}


def test_reservations_are_shown_by_the_names_of_their_functions() -> None:
    old = settings({"checkout": reserved(3), "legacy": reserved(1), "same": reserved(2)})
    new = settings({"checkout": reserved(5), "same": reserved(2), "search": {}})
    assert str(describe_changes(old, new)) == "checkout 3 -> 5, -legacy, +search"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ({"f": reserved(None)}, {"f": reserved(0)}, "f unset -> 0"),
        ({"f": {}}, {"f": {"requests_per_second": 2.5}}, "f.requests_per_second auto -> 2.5"),
        ({"f": {}}, {"f": {"recursive_loop": "Allow"}}, "f.recursive_loop unset -> Allow"),
        (
            {"f": reserved(1)},
            {"f": reserved(2, maximum_retry_attempts=0)},
            "f 1 -> 2, f.maximum_retry_attempts unset -> 0",
        ),
    ],
)
def test_every_limit_of_a_function_is_shown(old: dict[str, Any], new: dict[str, Any], text: str) -> None:
    assert str(describe_changes(settings(old), settings(new))) == text


def test_changed_callers_are_counted_and_not_named() -> None:
    alice = {"secret": "env:ALICE", "arn": "arn:aws:iam::111122223333:user/alice"}
    old = settings({}, callers={"AKIASECRET1": alice, "AKIASECRET2": alice})
    new = settings({}, callers={"AKIASECRET2": {**alice, "secret": "env:OTHER"}, "AKIASECRET3": alice})
    assert str(describe_changes(old, new)) == "callers: 1 added, 1 removed, 1 changed"


def test_no_password_of_a_target_and_no_access_key_is_shown() -> None:
    target = "redis://user:hunter2@localhost:6379/0?stream={}"
    functions = [{"f": {"on_failure": target.format(name)}} for name in ("a", "b")]
    keys = {"AKIASECRET1": "111122223333", "AKIASECRET2": "111122223333"}
    old = settings(functions[0], credentials=keys)
    new = settings(functions[1], credentials={"AKIASECRET2": "444455556666", "AKIASECRET3": "111122223333"})
    texts = str(describe_changes(old, new))
    assert texts == "f.on_failure changed, credentials: 1 added, 1 removed, 1 changed"
    assert str(describe_changes(new, settings({"f": {}}, credentials=keys))).startswith("f.on_failure removed")
    assert str(describe_changes(settings({"f": {}}), settings(functions[0]))) == "f.on_failure set"


def test_accounts_and_quotas_are_shown_by_their_keys() -> None:
    old = settings(accounts={"111122223333": {"functions": {"f": reserved(1)}}, "444455556666": {}})
    new = settings(
        accounts={"111122223333": {"functions": {"f": reserved(2)}}, "777788889999": {}},
        default={"concurrent_executions": 500},
        quotas={"request": 1000},
    )
    assert describe_changes(old, new).shown == (
        "accounts.default.concurrent_executions 1000 -> 500",
        "111122223333/f 1 -> 2",
        "-account 444455556666",
        "+account 777788889999",
        "quotas.request 6291456 -> 1000",
    )


def test_the_place_of_the_admin_token_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    changes = describe_changes(settings(), settings(admin_token="env:TOKEN", admin_reads="token"))
    assert str(changes) == "admin_token unset -> env:TOKEN, admin_reads open -> token"


def test_what_a_reload_does_not_apply_is_no_change() -> None:
    changes = describe_changes(settings(), settings(max_headers=5))
    assert (str(changes), changes.number) == ("no limit has changed", 0)


def test_of_many_changes_the_first_are_shown() -> None:
    changes = describe_changes(settings(), settings({f"f{number}": {} for number in range(1000)}))
    assert (len(changes.shown), changes.number) == (20, 1000)
    assert str(changes).endswith(", +f19 and 980 more")
