"""What docs/faults.md says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.operations.fault_scripts import KEYS, STEP_KEYS
from gateway.policy.invoke_errors import ERROR_NAMES, THROTTLE_REASONS, find_error, takes_reason

TEXT = (Path(__file__).parent.parent / "docs" / "faults.md").read_text()


def test_it_names_every_key_and_no_other() -> None:
    assert re.findall(r"^\| `([a-z_]+)`", TEXT, re.MULTILINE) == [*KEYS, *STEP_KEYS]


def test_it_lists_every_error_beside_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", TEXT, re.MULTILINE)
    listed = {(int(status), name) for status, names in rows for name in re.findall(r"`(\w+)`", names)}
    errors = [find_error(name, THROTTLE_REASONS[0] if takes_reason(name) else None) for name in ERROR_NAMES]
    assert listed == {(error.status, error.code) for error in errors if error is not None}
    assert all(f"`{reason}`" in TEXT.rpartition("`Reason` of")[2] for reason in THROTTLE_REASONS)
