"""Loading: sources together, what may be reloaded, and the JSON Schema."""

import json
from pathlib import Path

import pytest

import invoke_gateway
from invoke_gateway.settings import Override, SettingsError, json_schema, load, restart_needed
from tests.settings.reading import RESERVED, write


def test_watching_needs_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--watch: watch: has no file to watch"):
        load(None, {"watch": Override(True, "--watch")})
    assert load(write(tmp_path, "watch: true")).watch


def test_without_its_file_a_flag_is_judged_by_itself_alone(tmp_path: Path) -> None:
    overrides = {
        RESERVED: Override(5000, "--reserve"),  # may be right with what the file says
        "max_headers": Override("many", "--max-headers"),
    }
    with pytest.raises(SettingsError) as raised:
        load(tmp_path / "none.yaml", overrides)
    assert [problem.key for problem in raised.value.problems] == ["", "max_headers"]


def test_only_limits_callers_and_the_admin_token_change_without_a_restart(tmp_path: Path) -> None:
    old = load()
    text = "admin_token: env:HOME\nadmin_reads: token\n"
    text += "accounts: {default: {concurrent_executions: 5}}\nquotas: {request: 1}\ncredentials: {A: '111122223333'}\n"
    assert restart_needed(old, load(write(tmp_path, text))) == []
    changed = load(write(tmp_path, f"{text}region: eu-west-1\nbackend: {{timeout_seconds: 1}}"))
    assert restart_needed(old, changed) == ["region", "backend.timeout_seconds"]


def test_the_shipped_schema_is_the_one_of_the_models() -> None:
    shipped = Path(invoke_gateway.__file__).with_name("settings.schema.json")
    assert shipped.read_text() == json_schema(), (
        "run: invoke-gateway schema > gateway/invoke_gateway/settings.schema.json"
    )


def test_every_key_is_described_with_its_default() -> None:
    schema = json.loads(json_schema())
    for model in (schema, *schema["$defs"].values()):
        for name, field in model["properties"].items():
            model_of_field = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
            description = field.get("description", model_of_field.get("description"))
            assert description, name
            default = field.get("default")
            if default is not None and not isinstance(default, dict):
                shown = default if isinstance(default, str) else json.dumps(default)
                assert description.endswith(f"Default: {shown}."), name
