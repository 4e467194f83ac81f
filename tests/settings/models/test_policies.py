"""Assert that policies are read with the settings, and that a mistake in one is reported with its place and cure."""

import json
import pickle
from pathlib import Path

import pytest

from invoke_gateway.settings import Settings, load
from tests.settings.reading import problem_of, problems_of, write

ALICE = "arn:aws:iam::111122223333:user/alice"
STATEMENT = {"Sid": "Batch", "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}
POLICY = {"Version": "2012-10-17", "Statement": [STATEMENT]}


def with_policies(policies: str) -> str:
    return f"signatures: verify\ncallers:\n  AKIA: {{secret: env:A, arn: '{ALICE}', policies: [{policies}]}}\n"


def with_resource_policy(policy: str) -> str:
    function = f"accounts: {{default: {{functions: {{f: {{resource_policy: {policy}}}}}}}}}\n"
    return with_policies("") + function


def policies_of(settings: Settings) -> list[object]:
    return [json.loads(policy.text) for policy in settings.callers["AKIA"].policies]


def test_the_text_of_a_file_is_the_value(tmp_path: Path) -> None:
    file = write(tmp_path, json.dumps(POLICY), "alice.json")
    settings = load(write(tmp_path, with_policies(str(file))))
    [policy] = settings.callers["AKIA"].policies
    assert (policy.file, policy.text) == (str(file), json.dumps(POLICY))
    assert pickle.loads(pickle.dumps(settings)).callers == settings.callers
    file.write_text(json.dumps({**POLICY, "Id": "other"}))
    assert load(tmp_path / "gateway.yaml").callers != settings.callers


def test_a_policy_in_the_settings_may_have_a_date_without_quotes(tmp_path: Path) -> None:
    statement = "[{Sid: Batch, Effect: Allow, Action: 'lambda:InvokeFunction', Resource: '*'}]"
    settings = load(write(tmp_path, with_policies(f"{{Version: 2012-10-17, Statement: {statement}}}")))
    assert policies_of(settings) == [POLICY]


def test_a_byte_order_mark_is_no_part_of_a_policy(tmp_path: Path) -> None:
    file = tmp_path / "alice.json"
    file.write_text(json.dumps(POLICY), "utf-8-sig")
    assert policies_of(load(write(tmp_path, with_policies(str(file))))) == [POLICY]


def test_one_mistake_of_a_file_has_its_place_and_cure(tmp_path: Path) -> None:
    policy = {"Statement": [{**STATEMENT, "Condition": {"StringEqual": {"aws:username": "a"}}}]}
    file = write(tmp_path, json.dumps(policy), "alice.json")
    problem = problem_of(tmp_path, with_policies(str(file)))
    assert (problem.key, problem.line) == ("callers.AKIA.policies.0", 3)
    assert problem.message == f"{file}: statement 1 (Batch), Condition.StringEqual: is an unknown operator"
    assert problem.cure == "write StringEquals"


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    policy = {"Statement": [{**STATEMENT, "Effect": "allow"}] * 12}
    file = write(tmp_path, json.dumps(policy), "alice.json")
    problems = problems_of(tmp_path, with_policies(str(file)))
    assert {problem.key for problem in problems} == {"callers.AKIA.policies.0"}
    assert problems[0].message == f"{file}: statement 1 (Batch): 'allow' is no effect"
    assert problems[0].cure == 'write "Effect": "Allow" or "Deny"'
    assert problems[1].message == f"{file}: statement 2 (Batch): has the Sid of an earlier statement"
    assert problems[-1].message == f"{file} has 3 more mistakes"
    assert len(problems) == 21


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ("''", "is empty"),
        ("{}", "is empty"),
        ("7", "must be the name of a JSON file, or a policy as a mapping"),
        ("[a]", "must be the name of a JSON file, or a policy as a mapping"),
        ("/nowhere/alice.json", "cannot read '/nowhere/alice.json': No such file or directory"),
        ("{Statement: [], Id: 2026-01-01T00:00:00.5, X: !!binary aGk=}", "the policy"),
    ],
)
def test_what_is_no_policy_is_a_mistake(tmp_path: Path, policies: str, message: str) -> None:
    problem = problem_of(tmp_path, with_policies(policies))
    assert problem.key == "callers.AKIA.policies.0"
    assert problem.message.startswith(message)
    assert problem.cure


def test_a_file_that_is_too_long_or_not_in_utf_8_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "alice.json"
    file.write_bytes(b" " * 1_048_577)
    assert "has more than 1048576 bytes" in problem_of(tmp_path, with_policies(str(file))).message
    file.write_bytes(b'{"Id": "\xff"}')
    assert "is not in UTF-8 (byte 8)" in problem_of(tmp_path, with_policies(str(file))).message


def test_the_policy_of_a_function_needs_a_principal_and_that_of_a_caller_has_none(tmp_path: Path) -> None:
    file = write(tmp_path, json.dumps(POLICY), "p.json")
    problem = problem_of(tmp_path, with_resource_policy(str(file)))
    assert problem.key == "accounts.default.functions.f.resource_policy"
    assert problem.message == f"{file}: statement 1 (Batch): has no Principal"
    file.write_text(json.dumps({"Statement": {**STATEMENT, "Principal": "*"}}))
    settings = load(write(tmp_path, with_resource_policy(str(file))))
    policy = settings.accounts["default"].functions["f"].resource_policy
    assert policy is not None
    assert policy.file == str(file)
