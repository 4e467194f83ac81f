"""Merges the sources of settings: defaults, file, environment and flags, each over the one before."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from invoke_gateway.settings.file import read_settings_file
from invoke_gateway.settings.merge import Merged, Override, merge
from invoke_gateway.settings.models import Settings
from invoke_gateway.settings.paths import join_key, split_key
from invoke_gateway.settings.problems import Finding, Problem, SettingsError, explain

RELOADABLE = frozenset({"accounts", "credentials", "quotas"})
_MOST_LEFT_OUT = 20  # rounds: leaving a mistake out may show another


def load(
    config: Path | None = None,
    overrides: Mapping[str, Override] | None = None,
    problems: Iterable[Problem] = (),
    *,
    find_more: Callable[[Settings], Iterable[Finding]] | None = None,
) -> Settings:
    """Returns the settings of a file with the overrides on top. Raises `SettingsError` with all mistakes.

    config: the settings file
    overrides: values by dotted key, weakest first
    problems: mistakes that are already known
    find_more: finds mistakes beyond the values, such as unreadable files and taken ports
    """
    in_file, in_reading = read_settings_file(config) if config is not None else ({}, [])
    paths = {split_key(key): override for key, override in (overrides or {}).items()}
    merged = merge(in_file, paths, str(config or ""), Settings)
    settings, refused = _check(merged)
    if in_reading and not in_file:
        # Without the file the sums are wrong: of the flags, only mistakes of their own are reported.
        refused = [problem for problem in refused if merged.is_overridden(split_key(problem.key))]
    found = [*problems, *in_reading, *refused]
    if settings is not None and settings.watch and config is None:
        found.append(Problem("watch", merged.source_of(("watch",)), "has no file to watch", "give --config FILE"))
    if find_more is not None and not (in_reading and not in_file):
        found += _look_beyond(find_more, merged, settings, found)
    if settings is None or found:
        raise SettingsError(found)
    return settings


def _check(merged: Merged) -> tuple[Settings | None, list[Problem]]:
    try:
        return Settings.model_validate(merged.values), []
    except ValidationError as error:
        return None, explain(error, Settings, merged)


def _look_beyond(
    find_more: Callable[[Settings], Iterable[Finding]], merged: Merged, settings: Settings | None, found: list[Problem]
) -> list[Problem]:
    """Returns the findings of `find_more` in the settings, or in their rest without the mistakes."""
    wrong = [split_key(problem.key) for problem in found]
    usable = settings or _leave_out(merged, wrong)
    if usable is None:
        return []
    more = [(split_key(finding.key), finding) for finding in find_more(usable)]
    return [
        Problem(finding.key, merged.source_of(path), finding.message, finding.cure)
        for path, finding in more
        if not any(path[: len(bad)] == bad or bad[: len(path)] == path for bad in wrong if bad)
    ]


def _leave_out(merged: Merged, wrong: list[tuple[str, ...]]) -> Settings | None:
    """Returns the settings without the keys that have mistakes; None where that does not help. Adds to `wrong` further
    keys that turn out to have mistakes."""
    values = merged.values
    for _ in range(_MOST_LEFT_OUT):
        for path in wrong:
            values = _without(values, path)
        settings, problems = _check(Merged(values, merged.file, merged.overridden))
        if settings is not None or not problems:
            return settings
        wrong += [split_key(problem.key) for problem in problems]
    return None


def _without(values: Any, path: tuple[str, ...]) -> Any:
    """Returns a copy without the value at `path`. Where the key is missing, the mapping around the key is left out."""
    if not path or not isinstance(values, dict):
        return values
    name = next((name for name in values if str(name) == path[0]), None)
    if name is None:
        return values
    kept = dict(values)
    below = values[name]
    if len(path) == 1 or not isinstance(below, dict) or not any(str(key) == path[1] for key in below):
        del kept[name]
    else:
        kept[name] = _without(below, path[1:])
    return kept


def restart_needed(old: Settings, new: Settings) -> list[str]:
    """Returns the dotted keys that differ and take effect only after a restart: all but `RELOADABLE`."""
    return _differences(old, new, ())


def _differences(old: BaseModel, new: BaseModel, path: tuple[str, ...]) -> list[str]:
    changed = []
    for name, field in type(old).model_fields.items():
        key, before, after = (*path, field.alias or name), getattr(old, name), getattr(new, name)
        if key[0] in RELOADABLE or before == after:
            continue
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            changed += _differences(before, after, key)
        else:
            changed.append(join_key(key))
    return changed


def json_schema() -> str:
    """Returns the JSON Schema of the settings file, for editors; shipped as
    gateway/invoke_gateway/settings.schema.json."""
    schema = Settings.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        _complete(model)
        for field in model.get("properties", {}).values():
            _complete(field)
    draft = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps({"$schema": draft, **schema, "title": "Invoke Gateway settings"}, indent=2) + "\n"


def _complete(field: dict[str, Any]) -> None:
    if "patternProperties" in field:
        field["additionalProperties"] = False  # a name that does not fit is a mistake, not an extra
    if "description" not in field:
        return  # the description is the model's own, which stands where the field points to
    field["description"] = " ".join(field["description"].split())
    default = field.get("default")
    if default is not None and not isinstance(default, dict):
        shown = default if isinstance(default, str) else json.dumps(default)
        field["description"] += f" Default: {shown}."
