"""Names the new key, flag or variable in the error for an old one.

A line in `KEYS` is all that a renamed key needs: its flag and its environment variable follow from it.
"""

from __future__ import annotations

from invoke_gateway.settings.paths import Path, join_key

KEYS: dict[Path, Path] = {
    ("operations",): ("admin",),
    ("shared", "when_store_is_away"): ("shared", "on_store_failure"),
    ("shared", "heal_after"): ("shared", "reclaim_after"),
}

VALUES: dict[Path, dict[object, str]] = {
    ("shared", "on_store_failure"): {"closed": "refuse", "share": "local_share", "open": "admit"},
    ("access_log",): {True: "- (standard output), or the name of a file", False: "null, or leave the key out"},
}
"""Old values of keys, and the new value of each."""


def renamed_value(path: tuple[object, ...], value: object) -> str | None:
    """Returns the new name of a value of the key at `path`, None where the value was not renamed."""
    return VALUES.get(tuple(map(str, path)), {}).get(value) if isinstance(value, str | bool) else None


def renamed_key(path: tuple[object, ...]) -> str | None:
    """Returns the new name of the key at `path`, None where the key was not renamed."""
    new = KEYS.get(tuple(map(str, path)))
    return None if new is None else join_key(new)


def renamed_flags() -> dict[str, str]:
    """Returns the new flag of each old flag."""
    return {_flag(old): _flag(new) for old, new in KEYS.items()}


def renamed_variables(prefix: str) -> dict[str, str]:
    """Returns the new environment variable of each old one."""
    return {_variable(old, prefix): _variable(new, prefix) for old, new in KEYS.items()}


def _flag(path: Path) -> str:
    return "--" + "-".join(path).replace("_", "-")


def _variable(path: Path, prefix: str) -> str:
    return prefix + "_".join(path).upper()
