"""Merges the sources of settings: defaults, file, environment and flags, each over the one before."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from invoke_gateway.settings.contradictions import find_contradictions
from invoke_gateway.settings.files.file import Reading, SettingsText, open_settings_file
from invoke_gateway.settings.files.places import find_places
from invoke_gateway.settings.files.repairs import Repaired
from invoke_gateway.settings.key_texts import describe_keys
from invoke_gateway.settings.merge import Draft, Merged, Override, Sources, merge
from invoke_gateway.settings.models.settings import Settings
from invoke_gateway.settings.paths import join_key, split_key
from invoke_gateway.settings.problems import Finding, Problem, SettingsError, explain

RELOADABLE = frozenset({"accounts", "admin_reads", "admin_token", "callers", "credentials", "quotas"})
_MOST_ROUNDS = 20  # leaving a key with a mistake out may show another mistake
_ANY = "<name>"


def load(
    config: Path | SettingsText | None = None,
    overrides: Mapping[str, Override] | None = None,
    problems: Iterable[Problem] = (),
    *,
    find_more: Callable[[Settings], Iterable[Finding]] | None = None,
) -> Settings:
    """Returns the settings of a file with the overrides on top. Raises `SettingsError` with all mistakes.

    config: the settings file, or its text
    overrides: values by dotted key, weakest first
    problems: mistakes that are already known
    find_more: finds mistakes beyond the values, such as unreadable files and taken ports
    """
    reading, name = _read(config)
    in_file, in_reading = reading.values, reading.problems
    paths = {split_key(key): override for key, override in (overrides or {}).items()}
    merged = merge(in_file, paths, name, Settings)
    settings, refused = _check(merged)
    is_file_missing = bool(in_reading) and not in_file
    if is_file_missing:
        # Without the file the sums are wrong: of the flags, only mistakes of their own are reported.
        refused = [problem for problem in refused if merged.is_overridden(split_key(problem.key))]
    found = [*problems, *in_reading, *refused]
    if settings is not None and settings.watch and config is None:
        found.append(Problem("watch", merged.source_of(("watch",)), "has no file to watch", "give --config FILE"))
    if not is_file_missing and reading.text.is_complete:
        found += _find_more(find_more, merged, settings, found, refused)
    if settings is None or found:
        raise SettingsError(_in_order(_locate(found, reading.text, name, is_json=reading.is_json), name))
    settings.set_sources(Sources(name, merged.overridden))
    return settings


def _read(config: Path | SettingsText | None) -> tuple[Reading, str]:
    """Returns what the settings file says, and its name."""
    if isinstance(config, SettingsText):
        return config.read(), config.name
    if config is None:
        return Reading({}, [], Repaired(b"")), ""
    text, problems = open_settings_file(config)
    return (Reading({}, problems, Repaired(b"")) if problems else text.read()), text.name


def _check(merged: Merged) -> tuple[Settings | None, list[Problem]]:
    try:
        return Settings.model_validate(merged.values), []
    except ValidationError as error:
        return None, explain(error, Settings, merged)


def _find_more(
    find_more: Callable[[Settings], Iterable[Finding]] | None,
    merged: Merged,
    settings: Settings | None,
    found: list[Problem],
    refused: list[Problem],
) -> list[Problem]:
    """Returns the contradictions, and the findings of `find_more`: in the settings, or in what remains of them after
    the mistakes that were found are corrected or left out."""
    unknown = [split_key(problem.key) for problem in found if problem not in refused]
    usable = settings or _correct(merged, refused, unknown)
    if usable is None:
        return []
    contradictions = list(find_contradictions(usable))
    reported = {finding.key for finding in contradictions}
    beyond = find_more(usable) if find_more is not None else ()
    certain = [*contradictions, *(finding for finding in beyond if finding.key not in reported)]
    return [
        Problem(finding.key, merged.source_of(split_key(finding.key)), finding.message, finding.cure)
        for finding in certain
        if not _is_unknown(_needs(finding), unknown)
    ]


def _needs(finding: Finding) -> tuple[tuple[str, ...], ...]:
    return finding.needs or (split_key(finding.key),)


def _is_unknown(needs: Iterable[tuple[str, ...]], unknown: list[tuple[str, ...]]) -> bool:
    """Returns whether one of the keys is unknown, or a key around or below it."""
    return any(
        all(bad in (part, _ANY) for bad, part in zip(path, need, strict=False))
        for need in needs
        for path in unknown
        if path
    )


def _correct(merged: Merged, wrong: list[Problem], unknown: list[tuple[str, ...]]) -> Settings | None:
    """Returns the settings with each mistake corrected where its cure is certain and left out elsewhere; None where
    that does not help. Adds the keys whose values are not known for that reason to `unknown`."""
    values, done = merged.values, set[tuple[str, ...]]()
    for _ in range(_MOST_ROUNDS):
        draft = Draft(values)
        paths = {split_key(problem.key): problem.correction for problem in wrong}
        if paths.keys() <= done:
            return None
        for path in paths:
            draft.remove(path)
        for path, correction in paths.items():
            if correction is not None and correction.is_certain and correction.path not in paths.keys() - {path}:
                draft.put(correction.path, correction.value)
            else:
                unknown += [path, *([correction.path] if correction is not None else [])]
        done |= paths.keys()
        values = draft.values
        settings, wrong = _check(Merged(values, merged.file, merged.overridden))
        if settings is not None:
            return settings
    return None


def _locate(found: list[Problem], text: Repaired, file: str, *, is_json: bool) -> list[Problem]:
    """Returns the problems of the file with their lines and columns."""
    lacking = [problem for problem in found if problem.source == file and problem.line is None and problem.key]
    places = find_places(text.data, {split_key(each.key) for each in lacking}, is_json=is_json) if lacking else {}
    located = []
    for problem in found:
        place = places.get(split_key(problem.key)) if problem in lacking else None
        if place is not None:
            line, column = place.key if problem.is_at_key or not place.is_exact else place.value
            problem = replace(problem, line=line, column=max(1, column - text.shifts.get(line, 0)))
        located.append(problem)
    return located


def _in_order(found: list[Problem], file: str) -> list[Problem]:
    """Returns the problems of the file by line, and then all others."""
    return sorted(found, key=lambda problem: (problem.source != file, problem.line or math.inf, problem.column or 0))


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
    texts = describe_keys()
    for name, model in (("Settings", schema), *schema["$defs"].items()):
        _complete(model)
        for key, field in model.get("properties", {}).items():
            text = texts.get(name, {}).get(key)
            below = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
            if text is not None and text != below.get("description"):
                field["description"] = text
            model["properties"][key] = described = dict(sorted(field.items()))
            _complete(described)
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
