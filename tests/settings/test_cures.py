"""Cures compute: they name the value, the word or the key that was most likely meant."""

from pathlib import Path

import pytest

from invoke_gateway.settings import Override, SettingsError, load
from invoke_gateway.settings.flags import all_flags, read_value
from tests.settings.reading import problem_of, problems_of

ACCOUNT = "accounts: {default: {"


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        # bytes
        ("buffer_bytes: 6MB", "write 6000000 (6MiB: 6291456)"),
        ("buffer_bytes: 6MiB", "write 6291456"),
        ("quotas: {response: '10 kb'}", "write 10000 (10KiB: 10240)"),
        ("quotas: {request: 6291456.0}", "write 6291456"),
        ("quotas: {request: 1.5}", "leave the key out for the default, 6291456"),
        ("quotas: {request: 0}", "write 1 or more"),
        ("quotas: {request: -6MB}", "write 1 or more (-6MB: -6000000)"),
        # seconds
        ("drain_seconds: 30s", "write 30"),
        ("drain_seconds: 1h30m", "write 5400"),
        ("drain_seconds: PT5M", "write 300"),
        ("drain_seconds: '00:01:30'", "write 90"),
        ("drain_seconds: [30]", "write 30"),
        ("read_timeout_seconds: 250ms", "write 0.25"),
        ("read_timeout_seconds: 2d", "write 86400 or less (2d: 172800)"),
        ("read_timeout_seconds: 0", "write a number above 0"),
        ("async: {function_error_delays_seconds: 1m}", "write [60]"),
        ("async: {function_error_delays_seconds: '60, 120'}", "write [60, 120]"),
        ("async: {function_error_delays_seconds: [1m, 120, 5min]}", "write [60, 120, 300]"),
        # numbers and rates
        ('max_headers: "128"', "write 128 without quotes"),
        ("max_headers: 1,000", "write 1000"),
        ("max_headers: 1e3", "write 1000"),
        ("max_headers: 128.0", "write 128"),
        ("workers: 300", "write 256 or less"),
        (ACCOUNT + "concurrent_executions: 1k}}", "write 1000"),
        (ACCOUNT + "unreserved_floor: -1}}", "write 0 or more"),
        (ACCOUNT + "requests_per_second: 600/min}}", "write 10"),
        (ACCOUNT + "requests_per_second: 10 rps}}", "write 10"),
        (ACCOUNT + "requests_per_second: unlimited}}", "write off"),
        (ACCOUNT + "requests_per_second: Auto}}", "write auto"),
        (ACCOUNT + "caller_requests_per_second: none}}", "write off"),
        # switches and words
        ('watch: "yes"', "write true"),
        ("watch: 0", "write false"),
        ("watch: Enabled", "write true"),
        ("watch: flase", "did you mean false?"),
        ("async: {mode: que}", "did you mean queue?"),
        ("async: {mode: Queue}", "write queue"),
        ("payload_error: as-observed", "write as_observed"),
        ("shared: {on_store_failure: local}", "did you mean local_share?"),
        ("shared: {on_store_failure: closed}", "it was renamed: use refuse"),
        (ACCOUNT + "functions: {f: {recursive_loop: terminate}}}}", "write Terminate"),
        # names, Regions, accounts
        ("region: US-EAST-1", "write us-east-1"),
        ("region: eu_central_1", "write eu-central-1"),
        ("region: us-east-1a", "write us-east-1"),
        ("backend: {function_path: 'resize:live'}", "write resize"),
        ("credentials: {A: 111122223333}", 'write "111122223333"'),
        ("credentials: {A: 1111-2222-3333}", 'write "111122223333"'),
        ("credentials: {A: Default}", "write default"),
        # addresses and URLs
        ("listen: 9001", "write 127.0.0.1:9001, or 0.0.0.0:9001 for every interface"),
        ("listen: ':9001'", "write 127.0.0.1:9001, or 0.0.0.0:9001 for every interface"),
        ("listen: http://localhost:9001/", "write localhost:9001"),
        ("backend: http://localhost:4566", "write {url: http://localhost:4566}"),
        ("backend: localhost:4566", "write {url: http://localhost:4566}"),
        ("backend: demo", "write {url: demo}"),
        ("backend: {url: localhost:4566}", "write http://localhost:4566"),
        ("backend: {url: http://localhost:4566/2015-03-31}", "write http://localhost:4566"),
        ("counters: localhost:6379", "write redis://localhost:6379"),
        ("counters: valkey://localhost/1", "write redis://localhost/1"),
        ("counters: /run/valkey.sock", "write unix:///run/valkey.sock"),
        ("async: {store: /var/lib/queue.db}", "write sqlite:///var/lib/queue.db"),
        ("cors: {allow_origins: 'http://a'}", "write [http://a]"),
        ("cors: {allow_origins: '*'}", 'write ["*"]'),
        ("cors: {allow_origins: 'http://a, http://b'}", "write [http://a, http://b]"),
    ],
)
def test_the_cure_is_what_was_most_likely_meant(tmp_path: Path, text: str, cure: str) -> None:
    problem = problem_of(tmp_path, text)
    assert problem.cure.startswith(cure)
    assert problem.cure[len(cure) :][:1] in ("", ";", ":", " "), problem.cure


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("regoin: x", "did you mean region?"),
        ("Listen: 127.0.0.1:1", "did you mean listen?"),
        ("drainSeconds: 5", "did you mean drain_seconds?"),
        ("timeout: 5", "did you mean read_timeout_seconds?"),
        (
            "concurrency: 5",
            "did you mean accounts.<name>.concurrent_executions or callers.<name>.concurrent_executions?",
        ),
        ("backend: {timeout: 5}", "did you mean timeout_seconds?"),
        ("quotas: {drain_seconds: 5}", "did you mean drain_seconds?"),
        (
            ACCOUNT + "functions: {f: {ReservedConcurrentExecutions: 5}}}}",
            "did you mean reserved_concurrent_executions?",
        ),
        (ACCOUNT + "functions: {f: {MaximumRetryAttempts: 1}}}}", "did you mean maximum_retry_attempts?"),
        ("operations: 127.0.0.1:1", "it was renamed: use admin"),
        ("zzzzz: 1", "the keys here are listen, admin"),
    ],
)
def test_an_unknown_key_has_the_key_that_was_most_likely_meant(tmp_path: Path, text: str, cure: str) -> None:
    assert problem_of(tmp_path, text).cure.startswith(cure)


def test_an_account_id_with_a_zero_in_front_needs_no_quotes_to_be_itself(tmp_path: Path) -> None:
    """By the rules of YAML it would be an octal number."""
    path = tmp_path / "gateway.yaml"
    path.write_text("accounts: {012345670123: {concurrent_executions: 7}}\ncredentials: {A: 012345670123}\n")
    settings = load(path)
    assert settings.accounts["012345670123"].concurrent_executions == 7
    assert settings.credentials == {"A": "012345670123"}


def test_no_cure_repeats_a_password(tmp_path: Path) -> None:
    for text in ("counters: h://u:secret@h", "counters: u:secret@h:6379", "async: {store: 'valkey://:secret@h'}"):
        (problem,) = problems_of(tmp_path, text)
        assert "secret" not in str(problem)


@pytest.mark.parametrize(("key", "text", "cure"), [("buffer_bytes", "6MB", "write 6000000"), ("watch", "ja", "leave")])
def test_a_flag_or_variable_has_the_cures_of_the_file(key: str, text: str, cure: str) -> None:
    (flag,) = [flag for flag in all_flags() if flag.key == key]
    override = Override(read_value(flag.annotation, text, "--x", []), "--x")
    with pytest.raises(SettingsError) as raised:
        load(None, {key: override})
    (problem,) = raised.value.problems
    assert problem.source == "--x"
    assert problem.cure.startswith(cure)
