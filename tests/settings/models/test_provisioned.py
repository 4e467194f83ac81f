"""`provisioned_concurrent_executions` of a function: slots by version and alias."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from invoke_gateway.settings import load
from tests.settings.reading import problem_of, problems_of, write


def describe(value: str) -> str:
    return f"accounts: {{default: {{functions: {{f: {{provisioned_concurrent_executions: {value}}}}}}}}}"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ('{"7": 2}', {"7": (2, "7")}),
        ("{7: 2}", {"7": (2, "7")}),
        ("{prod: 5}", {"prod": (5, None)}),
        ('{prod: {version: "7", slots: 5}}', {"prod": (5, "7")}),
        ("{prod: {version: 7, slots: 5}, 8: 1}", {"prod": (5, "7"), "8": (1, "8")}),
        ("{prod: {slots: 5}}", {"prod": (5, None)}),
        ("{}", {}),
    ],
)
def test_slots_are_named_by_version_or_alias(
    tmp_path: Path, value: str, found: Mapping[str, tuple[int, str | None]]
) -> None:
    settings = load(write(tmp_path, describe(value)))
    assert settings.accounts["default"].functions["f"].provisioned_concurrent_executions == found


@pytest.mark.parametrize(
    ("value", "key", "text"),
    [
        ("5", "", "is no mapping of versions and aliases"),
        ("{prod: 0}", ".prod", "has no number of slots"),
        ("{prod: true}", ".prod", "has no number of slots"),
        ("{prod: 2.5}", ".prod", "has no number of slots"),
        ("{prod: {version: 7}}", ".prod", "has other keys"),
        ("{prod: {version: live, slots: 1}}", ".prod", "names the version live"),
        ("{7: {slots: 1}}", ".7", "has other keys"),
        ("{$LATEST: 1}", ".$LATEST", "is no version and no alias"),
        ("{prod: {version: 7, slots: 1}, 7: 1}", ".prod", "which has provisioned concurrency of its own"),
    ],
)
def test_a_mistake_is_reported_with_its_key(tmp_path: Path, value: str, key: str, text: str) -> None:
    problem = problem_of(tmp_path, describe(value))
    assert problem.key == f"accounts.default.functions.f.provisioned_concurrent_executions{key}"
    assert text in problem.message


def test_all_mistakes_are_reported_at_once_with_cures(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, describe('{7: two, 8: "3", 9: 2k, prod: {slot: 5}, $LATEST: 1}'))
    found = [(problem.key.rpartition(".")[2], problem.cure) for problem in problems]
    assert found == [
        ("7", "give it a whole number from 1 to 1000000000"),
        ("8", "write 3 without quotes"),
        ("9", "write 2000"),
        ("prod", 'write it as {"7": 2, prod: {version: "7", slots: 5}}'),
        ("$LATEST", "name a published version, such as 7, or an alias"),
    ]
