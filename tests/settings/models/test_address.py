"""The addresses of listeners."""

from pathlib import Path

import pytest

from tests.settings.reading import problem_of


@pytest.mark.parametrize(
    ("text", "words", "cure"),
    [
        ("localhost", "must be host:port; it is 'localhost'", "0.0.0.0:9001 for every interface"),
        (":9001", "must be host:port", "0.0.0.0:9001"),
        ("127.0.0.1:65536", "has the port '65536'", "host:port"),
        ("127.0.0.1:٣", "has the port", "host:port"),
        ("::1:9001", "has the IPv6 host ::1 without brackets", "write [::1]:9001"),
        ("[nope]:9001", "has the host '[nope]'", "name or address"),
        ("http://x:9001", "must be host:port, without a scheme", "write x:9001"),
    ],
)
def test_a_listener_is_host_and_port(tmp_path: Path, text: str, words: str, cure: str) -> None:
    problem = problem_of(tmp_path, f'listen: "{text}"')
    assert words in problem.message
    assert cure in problem.cure
