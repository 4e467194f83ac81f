"""A file that cannot be read is repaired, so that the mistakes in the rest of it are found in the same pass."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from invoke_gateway.settings import Problem, SettingsError, load
from tests.settings.reading import EVERY_KEY

REST = {"region", "watch"}


def read(folder: Path, data: bytes, name: str = "gateway.yaml") -> list[Problem]:
    path = folder / name
    path.write_bytes(data)
    with pytest.raises(SettingsError) as raised:
        load(path)
    return list(raised.value.problems)


def places(problems: list[Problem]) -> dict[str, tuple[int | None, int | None]]:
    return {problem.key: (problem.line, problem.column) for problem in problems}


@pytest.mark.parametrize(
    ("data", "words", "found"),
    [
        ("region: Mars # ä\nwatch: 5\n".encode("latin-1"), "is not UTF-8 text: byte 16", (1, 16)),
        ("region: Mars\nwatch: 5\n".encode("utf-16-le"), "is UTF-16 text", (1, 1)),
        ("region: Mars\nwatch: 5\n".encode("utf-16-be"), "is UTF-16 text", (1, 1)),
        (b"region: Mars\nwatch: 5\x07\n", "holds the character U+0007", (2, 9)),
        (b"region: Mars\nbackend:\n\turl: demo\nwatch: 5\n", "cannot start any token", (3, 1)),
        (b"region: Mars\n---\nwatch: 5\n", "more than one YAML document", (2, 1)),
        (b"region: Mars\nlisten: @x\nwatch: 5\n", "cannot start any token", (2, 9)),
        (b"region: Mars\nlisten: [::1]:9001\nwatch: 5\n", "is no YAML", (2, 10)),
        (b"region: Mars\nlisten 5\nwatch: 5\n", "could not find expected ':'", (3, 1)),
        (b"region: Mars\nwatch: 5\nlisten: 'x\n", "is no YAML", (4, 1)),
        (b"region: Mars\nlisten: 'x\nwatch: 5\nadmin: 127.0.0.1:0\n", "is no YAML", (5, 1)),
    ],
)
def test_the_rest_of_a_damaged_yaml_is_checked(tmp_path: Path, data: bytes, words: str, found: tuple[int, int]) -> None:
    problems = read(tmp_path, data)
    (damage,) = [problem for problem in problems if not problem.key]
    assert words in damage.message
    assert (damage.line, damage.column) == found
    assert set(places(problems)) == {"", *REST}


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ('{"region": "Mars",\n "watch": 5,\n}', "unexpected character", (3, 1)),
        ('{"region": "Mars", // why\n "watch": 5}', "unexpected character", (1, 20)),
        ('{"region": "Mars", /* a\nb */ "watch": 5}', "unexpected character", (1, 20)),
        ('{"region": "Mars", "workers": two,\n "watch": 5}', "unexpected character", (1, 31)),
        ('{"region": "Mars",\n "watch": 5, "max_headers": 6MB}', "", (2, 30)),
        ('{"region": "Mars",\n "payload_error": \'modelled\', "watch": 5}', "unexpected character", (2, 19)),
        ('{"region": "Mars"\n "watch": 5}', "", (2, 2)),
        ('{"quotas": {}, "region": "Mars",\n "watch": 5,\n', "", (3, 1)),
        ('\ufeff{"region": "Mars", "watch": 5}', "begins with a byte order mark", (1, 1)),
    ],
)
def test_the_rest_of_a_damaged_json_is_checked(tmp_path: Path, text: str, words: str, found: tuple[int, int]) -> None:
    problems = read(tmp_path, text.encode(), "gateway.json")
    (damage,) = [problem for problem in problems if not problem.key]
    assert words in damage.message
    assert (damage.line, damage.column) == found
    assert set(places(problems)) == {"", *REST}


def test_several_damages_of_several_kinds_are_reported_in_one_pass(tmp_path: Path) -> None:
    text = "region: Mars\x07\nlisten: @x\nbackend:\n\turl: localhost\n# \udce4\nadmin: `y\nwatch: 5\n"
    problems = read(tmp_path, text.encode(errors="surrogateescape"))
    assert [problem.line for problem in problems if not problem.key] == [1, 2, 4, 5, 6]
    assert {problem.key for problem in problems} == {"", "backend.url", *REST}


@pytest.mark.parametrize("outer", ["  ", "    ", "\t"])
def test_columns_are_those_of_the_file_whatever_the_width_of_a_tab(tmp_path: Path, outer: str) -> None:
    text = f"accounts:\n{outer}default:\n\t\tconcurrent_executions: ten\n\t\tunreserved_floor: 1k\n"
    found = places(read(tmp_path, text.encode()))
    del found[""]
    assert found == {
        "accounts.default.concurrent_executions": (3, 26),
        "accounts.default.unreserved_floor": (4, 21),
    }


def test_where_a_line_is_left_out_nothing_is_concluded_from_what_is_missing(tmp_path: Path) -> None:
    functions = "functions: {f: {reserved_concurrent_executions: 950}}"
    text = f"region: Mars\naccounts:\n  default:\n    concurrent_executions: @5000\n    {functions}\n"
    assert set(places(read(tmp_path, text.encode()))) == {"", "region"}


def test_a_line_with_others_below_it_is_never_left_out(tmp_path: Path) -> None:
    text = b"accounts:\n  @default:\n    concurrent_executions: 5\nregion: Mars\n"
    assert set(places(read(tmp_path, text))) == {""}


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.integers(0, len(EVERY_KEY)), st.sampled_from(["\t", "@", "[", "'", ": ", "\x07", "\udcff", "{", "- ", "%"]))
def test_whatever_is_inserted_ends_in_settings_or_in_problems_with_their_place(
    tmp_path: Path, at: int, damage: str
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes((EVERY_KEY[:at] + damage + EVERY_KEY[at:]).encode(errors="surrogateescape"))
    try:
        load(path)
    except SettingsError as error:
        for problem in error.problems:
            assert problem.source == str(path)
            assert (problem.line or 1) <= EVERY_KEY.count("\n") + 1
            assert (problem.column or 1) >= 1
