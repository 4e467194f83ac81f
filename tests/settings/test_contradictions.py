"""Rules between keys: each contradiction is reported, whatever else is wrong, and none that is not certain."""

from pathlib import Path

import pytest

from invoke_gateway.settings import Override, Problem, SettingsError, load
from tests.settings.reading import problem_of, problems_of, write

ACCOUNT = "111122223333"
ALICE = "arn:aws:iam::111122223333:user/alice"
VERIFIED = f"signatures: verify\ncallers:\n  AKIA: {{secret: env:A, arn: {ALICE}, concurrent_executions: 2}}\n"
WRONG = "region: Mars\nquotas: {request: 6MB}\nmax_heders: 1\n"
"""Mistakes of three other keys."""
FUNCTION = "accounts: {{default: {{functions: {{f: {}}}}}}}"
CONTRADICTIONS = [
    ("listen: 127.0.0.1:9002", "admin", "which is also listen"),
    ("admin_reads: token", "admin_reads", "there is no admin_token"),
    ("backend: {url: 'http://localhost:9001'}", "backend.url", "which is the gateway's own listen"),
    ("backend: {url: 'http://127.0.0.1:9002'}", "backend.url", "which is the gateway's own admin"),
    (
        "accounts: {default: {concurrent_executions: 50, unreserved_floor: 51}}",
        "accounts.default",
        "minimum value of [51]",
    ),
    (
        FUNCTION.format("{reserved_concurrent_executions: 5, provisioned_concurrent_executions: {'7': 2, prod: 4}}"),
        "accounts.default.functions.f.provisioned_concurrent_executions",
        "provisions 6 slots, more than reserved_concurrent_executions (5)",
    ),
    (
        FUNCTION.format("{provisioned_concurrent_executions: {'7': 901}}"),
        "accounts.default.functions.f.provisioned_concurrent_executions",
        "below its minimum value of [100]",
    ),
    (
        "shared: {lease_seconds: 2, store_timeout_seconds: 1}",
        "shared.store_timeout_seconds",
        "a quarter of lease_seconds",
    ),
    (
        "backend: {timeout_seconds: 10, first_byte_timeout_seconds: 20}",
        "backend.first_byte_timeout_seconds",
        "is 20, more than timeout_seconds (10), which ends the call before",
    ),
    ("backend: {timeout_seconds: 10, idle_timeout_seconds: 20}", "backend.idle_timeout_seconds", "more than timeout"),
    ("backend: {timeout_seconds: 2, connect_timeout_seconds: 3}", "backend.connect_timeout_seconds", "more than time"),
    ("control: {follow_interval_seconds: 5}", "control.follow_interval_seconds", "has no effect without follow_"),
    ("async: {shortest_delay_seconds: 301}", "async.shortest_delay_seconds", "more than longest_delay_seconds (300)"),
    (
        "workers: 2\ncounters: redis://h\nasync: {store: sqlite:///q.db}",
        "async.store",
        "is a file, which only one process can use",
    ),
    ("workers: 2\ncounters: redis+cluster://h", "async.store", "events cannot be kept where the counters are"),
    ("workers: 2\ncounters: redis://h\nfaults: true", "faults", "counts its calls in one process"),
    (
        f'accounts: {{"{ACCOUNT}": {{}}}}\ncredentials: {{A: "999999999999"}}',
        "credentials.A",
        "is the account 999999999999, which is not in accounts",
    ),
    (
        "accounts: {default: {functions: {f: {on_failure: 'function:f'}}}}",
        "accounts.default.functions.f.on_failure",
        "destination for itself",
    ),
    (
        "accounts: {default: {concurrent_executions: 50, outside_concurrency: 51}}",
        "accounts.default.outside_concurrency",
        "is 51, and the account has 50 unreserved slots",
    ),
    ("backend: {url: 'http://lambda.us-east-1.amazonaws.com'}", "backend.url", "AWS Lambda only serves https"),
    ("backend: {url: 'http://h', sign: true, function_path: f}", "backend.function_path", "that backend.sign signs"),
    ("signatures: verify", "signatures", "is verify, but callers has no access key"),
    (f"signatures: verify\ncallers: {{AKIA: {{arn: {ALICE}}}}}", "callers.AKIA.secret", "is missing"),
    ("signatures: verify\ncallers: {AKIA: {secret: env:A}}", "callers.AKIA.arn", "is missing"),
    (f"{VERIFIED}credentials: {{B: default}}", "credentials", "the account of a caller is that of its ARN"),
    (f"{VERIFIED}  {ALICE[:-1]}: {{}}", f"callers.{ALICE[:-1]}", "is the arn of no access key"),
    (f"{VERIFIED}  {ALICE}: {{secret: env:B}}", f"callers.{ALICE}.secret", "belongs to an access key"),
    (
        f"{VERIFIED}  BKIA: {{secret: env:B, arn: {ALICE}, concurrent_executions: 3}}",
        "callers.BKIA.concurrent_executions",
        f"differs from that of AKIA, which is the same caller ({ALICE})",
    ),
    (f"callers: {{AKIA: {{arn: {ALICE}, policies: [{{Statement: []}}]}}}}", "callers.AKIA.policies", "has no effect"),
    (
        "accounts: {default: {functions: {f: {resource_policy: {Statement: []}}}}}",
        "accounts.default.functions.f.resource_policy",
        "has no effect with signatures: off",
    ),
]


def problem(problems: tuple[Problem, ...], key: str, words: str) -> Problem:
    found = [each for each in problems if each.key == key and words in each.message]
    assert len(found) == 1, problems
    return found[0]


@pytest.mark.parametrize(("text", "key", "words"), CONTRADICTIONS)
def test_each_contradiction_is_a_mistake_with_a_cure(tmp_path: Path, text: str, key: str, words: str) -> None:
    (found,) = problems_of(tmp_path, text)
    assert found.key == key
    assert words in found.message
    assert found.cure


@pytest.mark.parametrize(("text", "key", "words"), CONTRADICTIONS)
def test_mistakes_of_other_keys_hide_no_contradiction(tmp_path: Path, text: str, key: str, words: str) -> None:
    alone = problem_of(tmp_path, text)
    problems = problems_of(tmp_path, WRONG + text)
    assert problem(problems, key, words).cure == alone.cure
    assert {each.key for each in problems} == {key, "region", "quotas.request", "max_heders"}


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("backend: {url: 'https://lambda.eu-west-1.amazonaws.com'}", "region", "AWS Lambda's of eu-west-1"),
        ("backend: {url: 'http://h', sign: {region: eu-west-1}}", "backend.sign.region", "and region is us-east-1"),
    ],
)
def test_the_region_is_that_of_the_backend(tmp_path: Path, text: str, key: str, words: str) -> None:
    found = problem_of(tmp_path, text)
    assert (found.key, words in found.message) == (key, True)


def test_all_contradictions_of_one_file_are_reported_together(tmp_path: Path) -> None:
    text = """
listen: 127.0.0.1:9002
accounts:
  default: {functions: {f: {on_failure: "function:f", on_success: "function:f"}, g: {on_failure: "function:g"}}}
  "111122223333": {concurrent_executions: 50, functions: {f: {reserved_concurrent_executions: 51}}}
  "111122223334": {concurrent_executions: 200, functions: {f: {reserved_concurrent_executions: 101}}}
credentials: {A: "111122223335", B: "111122223333", C: default, D: "555566667777"}
workers: 3
counters: memory
faults: true
async: {store: "sqlite:///q.db", shortest_delay_seconds: 9, longest_delay_seconds: 8}
shared: {store_timeout_seconds: 10}
tls: {certificate: pyproject.toml, key: pyproject.toml}
"""
    keys = sorted(each.key for each in problems_of(tmp_path, text))
    assert keys == [
        "accounts.111122223333",
        "accounts.111122223334",
        "accounts.default.functions.f.on_failure",
        "accounts.default.functions.f.on_success",
        "accounts.default.functions.g.on_failure",
        "admin",
        "async.shortest_delay_seconds",
        "async.store",
        "credentials.A",
        "credentials.D",
        "faults",
        "shared.store_timeout_seconds",
        "tls",
    ]


@pytest.mark.parametrize("key", ["request", "event_request"])
def test_a_payload_that_a_quota_allows_fits_into_the_buffers(tmp_path: Path, key: str) -> None:
    found = problem_of(tmp_path, f"buffer_bytes: 9\nquotas: {{{key}: 10, response: 10}}")
    assert (found.key, found.cure) == (f"quotas.{key}", "lower it to 9, or raise buffer_bytes to 10 at least")


@pytest.mark.parametrize(
    "text",
    ["backend: {timeout_seconds: 1}", "buffer_bytes: 9", "control: {follow_backend: true}", "backend: {url: demo}"],
)
def test_a_default_beside_a_value_is_no_contradiction(tmp_path: Path, text: str) -> None:
    load(write(tmp_path, text))


@pytest.mark.parametrize(
    "wrong", ["cors: {allow_origins: [localhost]}", "accounts: {default: {outside_concurrency: x}}"]
)
def test_a_mistake_within_a_list_or_a_union_hides_no_contradiction(tmp_path: Path, wrong: str) -> None:
    keys = [problem.key for problem in problems_of(tmp_path, f"{wrong}\nadmin_reads: token")]
    assert len(keys) == 2
    assert "admin_reads" in keys


# ---- what is certain -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        # A value that is not known may be the one that makes them agree.
        "accounts: {default: {concurrent_executions: many, functions: {f: {reserved_concurrent_executions: 950}}}}",
        "accounts: {default: {concurent: 5000, functions: {f: {reserved_concurrent_executions: 950}}}}",
        "accounts: {default: {functions: {f: {reserved_concurrent_executions: 950}}}}\nconcurrent_executions: 5000",
        "workers: 2\nasync: {mode: forward}\ncounters: valkey9://h",
        "workers: 2\nasync: {mode: forward}\ncounter: redis://h",
        "workers: lots\nfaults: true",
        "shared: {store_timeout_seconds: 3, lease: 20}",
        "shared: {lease_seconds: long, store_timeout_seconds: 3}",
        'accounts: {"111122223333": {}, "111122223334": 5}\ncredentials: {A: "111122223334"}',
        'accounts: {"111122223333": {}, 111122223334: {}}\ncredentials: {A: "111122223334"}',
        "async: {shortest_delay_seconds: 400, longest_delay_seconds: very}",
        "listen: nothing\nadmin: 127.0.0.1:9001",
    ],
)
def test_a_contradiction_that_a_wrong_value_may_explain_is_not_reported(tmp_path: Path, text: str) -> None:
    assert len(problems_of(tmp_path, text)) == 1


def test_a_value_whose_cure_is_certain_counts_as_cured(tmp_path: Path) -> None:
    functions = "functions: {f: {reserved_concurrent_executions: 950}}"
    enough = problems_of(tmp_path, f'accounts: {{default: {{concurrent_executions: "5000", {functions}}}}}')
    assert [each.cure for each in enough] == ["write 5000 without quotes"]
    few = problems_of(tmp_path, f'accounts: {{default: {{concurrent_executions: "1,040", {functions}}}}}')
    assert [each.key for each in few] == ["accounts.default", "accounts.default.concurrent_executions"]
    assert few[0].cure.startswith("950 of 1040 concurrent executions are reserved")
    renamed = problems_of(tmp_path, f"accounts: {{default: {{concurrent-executions: 5000, {functions}}}}}")
    assert [each.cure for each in renamed] == ["did you mean concurrent_executions?"]


def test_a_wrong_reservation_counts_as_none(tmp_path: Path) -> None:
    functions = "f: {reserved_concurrent_executions: 950}, g: {reserved_concurrent_executions: some}"
    problems = problems_of(tmp_path, f"accounts: {{default: {{functions: {{{functions}}}}}}}")
    assert [each.key for each in problems] == [
        "accounts.default",
        "accounts.default.functions.g.reserved_concurrent_executions",
    ]


def test_a_contradiction_between_file_and_flag_names_both(tmp_path: Path) -> None:
    path = write(tmp_path, "accounts: {default: {concurrent_executions: 5}}\nlisten: 127.0.0.1:7\n")
    overrides = {
        "accounts.default.functions.f.reserved_concurrent_executions": Override(6, "--reserve"),
        "admin": Override("127.0.0.1:7", "--admin"),
    }
    with pytest.raises(SettingsError) as raised:
        load(path, overrides)
    assert [(each.key, each.source, each.line) for each in raised.value.problems] == [
        ("admin", "--admin", None),
        ("accounts.default", f"{path}, --reserve", None),
    ]


# ---- credentials ----------------------------------------------------------------------------------------------


def test_a_credential_names_an_account_with_limits_or_default(tmp_path: Path) -> None:
    accounts = f'accounts: {{"{ACCOUNT}": {{}}}}\n'
    load(write(tmp_path, accounts + f'credentials: {{A: "{ACCOUNT}", B: default}}'))
    close = problem_of(tmp_path, accounts + 'credentials: {A: "111122223338"}')
    assert close.cure.startswith(f'did you mean "{ACCOUNT}"? Else add "111122223338": {{}} to accounts')
    far = problem_of(tmp_path, accounts + 'credentials: {A: "900000000008"}')
    assert far.cure == 'add "900000000008": {} to accounts, or write default to share its limits'


def test_where_no_account_is_named_every_credential_shares_the_default(tmp_path: Path) -> None:
    assert load(write(tmp_path, f'credentials: {{A: "{ACCOUNT}"}}')).credentials == {"A": ACCOUNT}


# ---- callers ---------------------------------------------------------------------------------------------------


def test_two_access_keys_of_one_caller_share_its_limits_and_policies(tmp_path: Path) -> None:
    same = f"  BKIA: {{secret: env:B, arn: {ALICE}, concurrent_executions: 2}}\n"
    of_the_arn = f"  {ALICE}: {{policies: [{{Statement: []}}], requests_per_second: 5}}\n"
    assert set(load(write(tmp_path, VERIFIED + same + of_the_arn)).callers) == {"AKIA", "BKIA", ALICE}


def test_a_misspelt_arn_names_the_one_that_was_meant(tmp_path: Path) -> None:
    assert problem_of(tmp_path, f"{VERIFIED}  {ALICE[:-1]}: {{}}").cure.startswith(f"did you mean {ALICE}?")


@pytest.mark.parametrize(
    "secret", ["wJalrXUtnFEMI", "12345678", "[wJalrXUtnFEMI]", "'env:'", "'file:'", "'env:wJalr XUtn'"]
)
def test_a_secret_in_the_file_itself_is_refused_and_not_repeated(tmp_path: Path, secret: str) -> None:
    problem = problem_of(tmp_path, f"callers: {{AKIA: {{secret: {secret}, arn: {ALICE}}}}}")
    assert problem.key == "callers.AKIA.secret"
    assert problem.message.startswith("must be env:NAME, file:/path or command:")
    assert "wJalr" not in str(problem)
    assert "12345678" not in str(problem)
