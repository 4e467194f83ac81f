"""The texts of the keys: read when they are shown, and for every key."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from invoke_gateway.settings import json_schema


def test_every_key_has_a_text_in_the_schema() -> None:
    schema = json.loads(json_schema())
    models: dict[str, Any] = {"Settings": schema, **schema["$defs"]}
    without = [
        (name, key)
        for name, model in models.items()
        for key, field in model.get("properties", {}).items()
        if not (field.get("description") or models.get(field.get("$ref", "").rpartition("/")[2], {}).get("description"))
    ]
    assert without == []


def test_the_help_of_a_flag_has_the_text_under_its_field() -> None:
    from invoke_gateway.settings.flags import all_flags

    shown = {flag.key: flag.option().help for flag in all_flags()}
    assert shown["max_header_bytes"] == "Bytes of a request's head.  [default: 65536]"
    assert shown["accounts.default.concurrent_executions"] == (
        "Slots: invocations of the account that may run at once.  [default: 1000]"
    )
    assert [key for key, text in shown.items() if not text or text.startswith("  [")] == []


def test_a_start_reads_no_texts() -> None:
    """Reading the source of the models cost each start a tenth of its time."""
    code = "import invoke_gateway.cli.serve, invoke_gateway.server.run\n"
    code += "from invoke_gateway.settings.key_texts import describe_keys; print(describe_keys.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "0\n"
