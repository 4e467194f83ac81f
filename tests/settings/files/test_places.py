"""The line and the column of keys, in YAML and in JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.settings import SettingsError, load
from invoke_gateway.settings.files.places import find_places, find_repeated_keys
from tests.settings.reading import EVERY_KEY, problem_of, problems_of

YAML = """\
# comment
listen: "127.0.0.1:1"
accounts:
  default: &small
    concurrent_executions: 10
    functions: {a.b: {x: 1}, on: {y: 2}, "ü": {z: 3}}
  "111122223333": {<<: *small, unreserved_floor: 5}
  "111122223334": *small
"""


def place(text: str, *path: str, is_json: bool = False) -> tuple[tuple[int, int], tuple[int, int], bool] | None:
    found = find_places(text.encode(), [path], is_json=is_json).get(path)
    return None if found is None else (tuple(found.key), tuple(found.value), found.is_exact)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("listen",), (2, 1), (2, 9)),
        (("accounts", "default"), (4, 3), (4, 12)),
        (("accounts", "default", "functions", "a.b", "x"), (6, 23), (6, 26)),
        (("accounts", "default", "functions", "True", "y"), (6, 35), (6, 38)),
        (("accounts", "default", "functions", "ü", "z"), (6, 48), (6, 51)),
        (("accounts", "111122223333", "unreserved_floor"), (7, 32), (7, 50)),
        (("accounts", "111122223333", "concurrent_executions"), (5, 5), (5, 28)),
        (("accounts", "111122223334", "functions", "a.b", "x"), (6, 23), (6, 26)),
    ],
)
def test_a_key_has_the_place_of_its_name_and_of_its_value(
    path: tuple[str, ...], key: tuple[int, int], value: tuple[int, int]
) -> None:
    assert place(YAML, *path) == (key, value, True)


@pytest.mark.parametrize("is_json", [False, True])
def test_a_member_of_a_list_has_its_own_place(is_json: bool) -> None:
    text = '{"a": ["x", {"b": [1, 2]},\n "y"], "c": 1}'
    assert place(text, "a", "2", is_json=is_json) == ((2, 2), (2, 2), True)
    assert place(text, "a", "1", "b", "1", is_json=is_json) == ((1, 23), (1, 23), True)
    assert place(text, "c", is_json=is_json) == ((2, 8), (2, 13), True)
    assert place(text, "a", "3", is_json=is_json) == ((1, 2), (1, 7), False)


def test_a_key_that_is_not_there_has_the_place_of_the_key_around_it() -> None:
    assert place(YAML, "accounts", "default", "nothing", "below") == ((4, 3), (4, 12), False)
    assert place(YAML, "nothing") is None


def test_the_own_key_of_a_mapping_goes_over_the_one_that_it_inherits() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {x: 3}\nc: {<<: [*b, *a], y: 4}\n"
    assert place(text, "c", "y") == ((3, 19), (3, 22), True)
    assert place(text, "c", "x") == ((2, 8), (2, 11), True)


def test_an_anchor_that_is_given_again_counts_from_there_on() -> None:
    text = "a: &a {x: 1}\nb: *a\nc: &a {x: 2}\nd: *a\n"
    assert place(text, "b", "x") == ((1, 8), (1, 11), True)
    assert place(text, "d", "x") == ((3, 8), (3, 11), True)


def test_json_may_be_indented_with_tabs_and_hold_escapes() -> None:
    text = '{\r\n\t"a": [1, {"b": 2}, "]"],\r\n\t"\\u0063" : {"d\\"": {}, "e":\n null}}'
    assert place(text, "a", is_json=True) == ((2, 2), (2, 7), True)
    assert place(text, "c", 'd"', is_json=True) == ((3, 14), (3, 21), True)
    assert place(text, "c", "e", is_json=True) == ((3, 25), (4, 2), True)


def every_path(values: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = (
        [every_path(value, (*path, str(name))) for name, value in values.items()] if isinstance(values, dict) else []
    )
    return [*([path] if path else []), *(each for paths in below for each in paths)]


@pytest.mark.parametrize("is_json", [False, True])
def test_every_key_of_the_settings_is_found_where_its_name_stands(is_json: bool) -> None:
    values = yaml.safe_load(EVERY_KEY)
    text = json.dumps(values, indent=1) if is_json else EVERY_KEY
    paths, lines = every_path(values), text.splitlines()
    places = find_places(text.encode(), paths, is_json=is_json)
    assert set(places) == set(paths)
    for path, found in places.items():
        assert found.is_exact
        assert lines[found.key.line - 1][found.key.column - 1 :].lstrip("\"'").startswith(path[-1])


SHAPES = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=3), SHAPES, max_size=4), st.sampled_from([None, 1, "\t"]))
def test_the_places_of_any_json_lead_to_its_keys(values: dict[str, Any], indent: Any) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    lines = text.split("\n")
    for path, found in find_places(text.encode("utf-8", "surrogatepass"), every_path(values), is_json=True).items():
        assert found.is_exact
        rest = lines[found.key.line - 1][found.key.column - 1 :]
        assert json.JSONDecoder().raw_decode(rest)[0] == path[-1]
    assert list(find_repeated_keys(text)) == []


def test_a_million_aliases_do_not_mean_a_million_readings() -> None:
    text = "a: &a {x: 1}\n" + "".join(f"b{number}: *a\n" for number in range(200))
    places = find_places(text.encode(), [(f"b{number}", "x") for number in range(200)], is_json=False)
    assert len(places) == 200
    assert sum(found.is_exact for found in places.values()) == 20


# ---- in problems ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: b\n  c: d\n", (2, 4)),
        ("listen: x\n\twatch: 1\n", (2, 1)),
        ("a: [1, 2\n", (2, 1)),
        ("a: é\r\nb: é\x07", (2, 5)),
        ("a: 1\n--- \nb: 2", (2, 1)),
        ("a: !!python/object:os.system 1", (1, 4)),
        ("a: {b: *c}", (1, 8)),
        ("? [1, 2]\n: 3", (1, 3)),
    ],
)
def test_a_text_that_is_no_yaml_has_the_place_of_its_error(tmp_path: Path, text: str, place: tuple[int, int]) -> None:
    (problem,) = [each for each in problems_of(tmp_path, text) if not each.key]
    assert (problem.line, problem.column) == place
    assert str(problem).startswith(f"{tmp_path}/gateway.yaml:{place[0]}:{place[1]}: ")


@pytest.mark.parametrize(
    ("text", "place"), [('{\n "a": x}', (2, 7)), (r'{"region": "\ud800"}', (1, 13)), ('{"max_headers": 9', (1, 18))]
)
def test_a_text_that_is_no_json_has_the_place_of_its_error(tmp_path: Path, text: str, place: tuple[int, int]) -> None:
    problem = problem_of(tmp_path, text, "gateway.json")
    assert (problem.line, problem.column) == place


def test_bytes_that_are_no_utf_8_have_a_place(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(b"region: us-east-1\nbackend: \xe4\n")
    with pytest.raises(SettingsError) as raised:
        load(path)
    (problem,) = [each for each in raised.value.problems if not each.key]
    assert (problem.line, problem.column) == (2, 10)


def test_a_missing_key_has_the_place_of_the_mapping_that_lacks_it(tmp_path: Path) -> None:
    key, certificate = problems_of(tmp_path, "watch: false\ntls:\n  certificate: /x\n")
    assert (certificate.key, certificate.line, certificate.column) == ("tls.certificate", 3, 16)
    assert (key.key, key.line, key.column) == ("tls.key", 2, 1)
