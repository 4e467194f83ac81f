"""Gateways on one store share what AddPermission has set."""

from __future__ import annotations

from pathlib import Path

from tests.scenarios.test_permissions import SECRET, add_permission, call, invoke
from tests.support.processes import wait_until
from tests.support.served import served
from tests.support.stores import running_store

ALICE, BOB = "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::444455556666:user/bob"


def test_a_statement_holds_on_all_gateways_and_so_does_its_removal(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    callers = {
        "AKIAALICE": {"secret": f"file:{secret}", "arn": ALICE},
        "AKIABOB": {"secret": f"file:{secret}", "arn": BOB},
    }
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with running_store("redis") as store:
        store.clear("000000000000")
        shared = {"counters": store.url, "signatures": "verify", "callers": callers}
        with served(folders[0], **shared) as one, served(folders[1], **shared) as two:
            one.until_up()
            two.until_up()
            assert not call(two, "AKIABOB", invoke)
            assert call(one, "AKIAALICE", add_permission)
            wait_until(lambda: call(two, "AKIABOB", invoke), "the statement holds at the other gateway")
            assert call(
                two, "AKIAALICE", lambda client: client.remove_permission(FunctionName="echo", StatementId="bob")
            )
            wait_until(lambda: not call(one, "AKIABOB", invoke), "the statement is removed at the first gateway")
