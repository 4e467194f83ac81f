"""Compiles the element `Condition`: every operator and key in it must be met, by any of the key's values.

A key that a request lacks meets the negated operators (`StringNotEquals`), those that end in `IfExists`, and
`ForAllValues`; no others. `ForAnyValue` with a negated operator is not met either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from .condition_keys import KEYS, ORGANIZATION, UNKNOWN_FACTS, ConditionKey, RequestFacts
from .mistakes import PolicyMistakes, advise
from .operators import OPERATORS, Compare, Given

Condition = Callable[[RequestFacts], bool]

_IF_EXISTS = "IfExists"
_QUANTIFIERS = ("ForAnyValue", "ForAllValues")


class ConditionRules(NamedTuple):
    """Holds what depends on the policy that a condition is in.

    version: the version of the policy
    has_organizations: the key `aws:PrincipalOrgID` is accepted, and absent from every request
    """

    version: str
    has_organizations: bool = False


def read_conditions(
    element: object, where: str, mistakes: PolicyMistakes, rules: ConditionRules
) -> tuple[Condition, ...]:
    """Reads the element. Each mistake is noted with its place."""
    if not isinstance(element, Mapping):
        mistakes.note(where, "is no mapping", "Write {operator: {key: value}}.")
        return ()
    found = []
    for operator, tests in element.items():
        place = f"{where}.{operator}"
        if not isinstance(tests, Mapping) or not tests:
            mistakes.note(place, "is no mapping of keys", "Write {key: value}.")
            continue
        for key, value in tests.items():
            condition = _read(operator, key, value, place, mistakes, rules)
            if condition is not None:
                found.append(condition)
    return tuple(found)


def _read(
    given: str, key: str, value: object, where: str, mistakes: PolicyMistakes, rules: ConditionRules
) -> Condition | None:
    quantifier, _, name = given.rpartition(":")
    base = name.removesuffix(_IF_EXISTS)
    known = _find_key(key, where, mistakes, rules)
    texts = _read_texts(value, f"{where}.{key}", mistakes)
    if quantifier and quantifier not in _QUANTIFIERS:
        cure = advise(quantifier, _QUANTIFIERS, "Write ForAnyValue or ForAllValues.")
        mistakes.note(where, f"{quantifier} is no prefix of an operator", cure)
    if base != "Null" and base not in OPERATORS:
        cure = advise(base, (*OPERATORS, "Null"), f"Known are {', '.join(OPERATORS)} and Null.")
        mistakes.note(where, "is an unknown operator", cure)
        return None
    if known is None or texts is None:
        return None
    if base == "Null":
        return _read_null(given, known, texts, f"{where}.{key}", mistakes)
    operator = OPERATORS[base]
    if known.type not in operator.types:
        cure = _name_operators(known)
        mistakes.note(f"{where}.{key}", f"is of type {known.type}, to which {base} does not apply", cure)
        return None
    compares = tuple(operator.read(Given(text, f"{where}.{key}", mistakes, rules.version)) for text in texts)
    is_met_when_absent = quantifier == "ForAllValues" if quantifier else operator.is_negated
    when_absent = is_met_when_absent or name != base
    return _make(known, compares, is_negated=operator.is_negated, when_absent=when_absent)


def _name_operators(key: ConditionKey) -> str:
    names = [name for name, operator in OPERATORS.items() if key.type in operator.types]
    return f"Write one of {', '.join(names)}."


def _make(key: ConditionKey, compares: tuple[Compare, ...], *, is_negated: bool, when_absent: bool) -> Condition:
    read = key.read

    def is_met(facts: RequestFacts) -> bool:
        value = read(facts)
        if value is None:
            return when_absent
        principal = facts.principal
        for compare in compares:
            if compare(value, principal):
                return not is_negated
        return is_negated

    return is_met


def _read_null(
    given: str, key: ConditionKey, texts: list[str], where: str, mistakes: PolicyMistakes
) -> Condition | None:
    if given != "Null":
        mistakes.note(where, f"{given} is an unknown operator", "Write Null.")
        return None
    wanted = {text.lower() for text in texts}
    if not wanted <= {"true", "false"}:
        mistakes.note(where, f"{', '.join(texts)!r} is no boolean", "Write true or false.")
        return None
    read = key.read
    return lambda facts: ("true" if read(facts) is None else "false") in wanted


def _find_key(given: str, where: str, mistakes: PolicyMistakes, rules: ConditionRules) -> ConditionKey | None:
    folded = given.lower()
    if rules.has_organizations and folded == ORGANIZATION.name.lower():
        return ORGANIZATION
    key = KEYS.get(folded)
    if key is None:
        names = [one.name for one in KEYS.values()]
        cure = UNKNOWN_FACTS.get(folded) or advise(given, names, f"Known are {', '.join(names)}.")
        mistakes.note(f"{where}.{given}", "is a key that the gateway cannot read", cure)
    return key


def _read_texts(value: object, where: str, mistakes: PolicyMistakes) -> list[str] | None:
    """Returns the values of a key as texts."""
    given = value if isinstance(value, list) else [value]
    texts = [_as_text(one) for one in given]
    if not texts or None in texts:
        mistakes.note(where, "is no value and no list of values", "Write a text.")
        return None
    return [text for text in texts if text is not None]


def _as_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) else None
