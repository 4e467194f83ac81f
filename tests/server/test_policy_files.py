"""A changed file of a policy is found once, and one that is just being replaced is not."""

from __future__ import annotations

import json
from pathlib import Path

from invoke_gateway.server.policy_files import PolicyFiles
from invoke_gateway.settings import Settings

STATEMENT = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def make_settings(folder: Path) -> Settings:
    alice = {"secret": "env:A", "arn": "arn:aws:iam::111122223333:user/alice", "policies": [str(folder / "alice.json")]}
    checkout = {"resource_policy": str(folder / "checkout.json")}
    return Settings.model_validate(
        {
            "signatures": "verify",
            "callers": {"AKIA": {**alice, "policies": [*alice["policies"], {"Statement": []}]}},
            "accounts": {"default": {"functions": {"checkout": checkout}}},
        }
    )


def test_each_change_is_found_once(tmp_path: Path) -> None:
    alice, checkout = tmp_path / "alice.json", tmp_path / "checkout.json"
    alice.write_text(json.dumps({"Statement": STATEMENT}), "utf-8-sig")
    checkout.write_text(json.dumps({"Statement": {**STATEMENT, "Principal": "*"}}))
    files = PolicyFiles(make_settings(tmp_path))
    assert not files.have_changed()
    for file in (alice, checkout):
        file.write_text(file.read_text("utf-8-sig") + " ")
        assert files.have_changed()
        assert not files.have_changed()
    checkout.unlink()
    assert not files.have_changed()
    checkout.write_text("{")
    assert files.have_changed()


def test_a_file_that_was_read_again_is_compared_with_what_was_read(tmp_path: Path) -> None:
    alice = tmp_path / "alice.json"
    alice.write_text(json.dumps({"Statement": STATEMENT}))
    (tmp_path / "checkout.json").write_text(json.dumps({"Statement": []}))
    files = PolicyFiles(make_settings(tmp_path))
    alice.write_text(json.dumps({"Statement": [STATEMENT]}))
    files.follow(make_settings(tmp_path))
    assert not files.have_changed()
    alice.write_text(json.dumps({"Statement": STATEMENT}))
    assert files.have_changed()
