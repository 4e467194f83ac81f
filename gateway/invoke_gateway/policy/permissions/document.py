"""Reads policy documents in AWS's JSON, and compiles their statements.

All mistakes of a document are found at once. A document with a mistake is not in force, because a statement that is
ignored would allow or deny something else than its author wrote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from .conditions import Condition, ConditionRules, read_conditions
from .mistakes import BadPolicy, PolicyMistakes, advise
from .patterns import Matches, match_glob, read_pattern
from .principal import Principal, PrincipalSet, read_principals

VERSIONS = ("2012-10-17", "2008-10-17")
ANY_LAMBDA_ACTION = "lambda:*"
"""Names the action of a request whose operation is unknown: only a pattern for all operations of Lambda matches."""

_DOCUMENT_ELEMENTS = ("Version", "Id", "Statement")
_ELEMENTS = (
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"
)  # fmt: skip
_ACTION = re.compile(r"\*|[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+", re.ASCII)
_RESOURCE = re.compile(r"\*|arn:.*", re.DOTALL)


class PolicyKind(StrEnum):
    """Lists the two kinds of policies, by their names in AWS's texts."""

    IDENTITY = "identity-based"
    RESOURCE = "resource-based"


class Statement(NamedTuple):
    """Holds one compiled statement.

    source: the file of its policy, or another name of it
    number: its place in the policy, from 1
    principals: None in an identity-based policy
    covers_unknown: it names operations of Lambda, so it may be about an operation that is not known
    """

    kind: PolicyKind
    source: str
    number: int
    sid: str | None
    is_allow: bool
    covers_action: Callable[[str], bool]
    covers_unknown: bool
    covers_resource: Matches
    principals: PrincipalSet | None
    conditions: tuple[Condition, ...]

    @property
    def name(self) -> str:
        """Returns the place of the statement, as people find it."""
        return f"{self.source}, statement {self.number}" + (f" ({self.sid})" if self.sid else "")


def parse_policy(text: str | bytes, source: str, kind: PolicyKind) -> tuple[Statement, ...]:
    """Returns the statements of a document. Raises `BadPolicy`."""
    mistakes = PolicyMistakes()
    try:
        document = json.loads(text, object_pairs_hook=lambda pairs: _make_mapping(pairs, mistakes))
    except (ValueError, RecursionError) as error:
        mistakes.note("", f"is no JSON: {error}", "Write the policy as JSON.")
        raise BadPolicy(source, mistakes) from error
    statements = read_policy(document, source, kind, mistakes)
    if mistakes:
        raise BadPolicy(source, mistakes)
    return statements


def _make_mapping(pairs: list[tuple[str, Any]], mistakes: PolicyMistakes) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        mistakes.note("", f"has {', '.join(twice)} twice in one object", "Write it once, with a list.")
    return made


def read_policy(
    document: object,
    source: str,
    kind: PolicyKind,
    mistakes: PolicyMistakes,
    *,
    has_organizations: bool = False,
) -> tuple[Statement, ...]:
    """Reads a parsed document, and notes its mistakes."""
    if not isinstance(document, Mapping):
        mistakes.note("", "is no object", "Write {Version, Statement}.")
        return ()
    _check_elements(document, _DOCUMENT_ELEMENTS, "", mistakes)
    version = document.get("Version", VERSIONS[-1])
    if version not in VERSIONS:
        mistakes.note("Version", f"{version!r} is unknown", f'Write "{VERSIONS[0]}".')
        version = VERSIONS[0]
    if not isinstance(document.get("Id", ""), str):
        mistakes.note("Id", "is no text", "Write a text.")
    if "Statement" not in document:
        mistakes.note("", "has no Statement", "Add a list of statements.")
    given = document.get("Statement", [])
    reader = _StatementReader(source, kind, ConditionRules(version, has_organizations), mistakes)
    listed = given if isinstance(given, list) else [given]
    return tuple(
        reader.read(one, number) for number, one in enumerate(listed, start=1) if reader.is_statement(one, number)
    )


def _check_elements(given: Mapping[str, Any], known: Iterable[str], where: str, mistakes: PolicyMistakes) -> None:
    for name in given:
        if name not in known:
            cure = advise(name, known, f"Known are {', '.join(known)}.")
            mistakes.note(where, f"{name} is an unknown element", cure)


class _StatementReader:
    """Reads the statements of one document."""

    def __init__(self, source: str, kind: PolicyKind, rules: ConditionRules, mistakes: PolicyMistakes) -> None:
        self._source = source
        self._kind = kind
        self._rules = rules
        self._mistakes = mistakes
        self._sids: set[str] = set()

    def is_statement(self, given: object, number: int) -> bool:
        if isinstance(given, Mapping):
            return True
        self._mistakes.note(f"statement {number}", "is no object", "Write {Effect, Action, Resource}.")
        return False

    def read(self, given: Mapping[str, Any], number: int) -> Statement:
        sid = self._read_sid(given, number)
        where = f"statement {number}" + (f" ({sid})" if sid else "")
        _check_elements(given, _ELEMENTS, where, self._mistakes)
        effect = given.get("Effect")
        if effect not in ("Allow", "Deny"):
            problem = f"{effect!r} is no effect" if "Effect" in given else "has no Effect"
            self._mistakes.note(where, problem, 'Write "Effect": "Allow" or "Deny".')
        covers_action, covers_unknown = self._read_actions(given, where)
        conditions = read_conditions(given.get("Condition", {}), f"{where}, Condition", self._mistakes, self._rules)
        is_allow = effect == "Allow"
        return Statement(
            self._kind, self._source, number, sid, is_allow, covers_action, covers_unknown,
            self._read_resources(given, where, is_allow=is_allow), self._read_principals(given, where), conditions,
        )  # fmt: skip

    def _read_sid(self, given: Mapping[str, Any], number: int) -> str | None:
        sid = given.get("Sid")
        if sid is None or sid == "":
            return None
        if not isinstance(sid, str):
            self._mistakes.note(f"statement {number}", "has a Sid that is no text", "Write a text.")
            return None
        if sid in self._sids:
            self._mistakes.note(
                f"statement {number} ({sid})", "has the Sid of an earlier statement", "Give it another one."
            )
        self._sids.add(sid)
        return sid

    def _read_list(self, given: Mapping[str, Any], name: str, where: str) -> tuple[list[str], bool]:
        """Returns the texts of an element or its negation, and whether it is the negation."""
        names = [one for one in (name, f"Not{name}") if one in given]
        if len(names) != 1:
            problem = f"has both {name} and Not{name}" if names else f"has no {name}"
            self._mistakes.note(where, problem, f"Write one of {name} and Not{name}.")
            return [], False
        value = given[names[0]]
        listed = value if isinstance(value, list) else [value]
        if not listed or not all(isinstance(one, str) for one in listed):
            self._mistakes.note(f"{where}, {names[0]}", "is no text and no list of texts", "Write a text.")
            return [], False
        return listed, names[0] != name

    def _read_actions(self, given: Mapping[str, Any], where: str) -> tuple[Callable[[str], bool], bool]:
        texts, is_negated = self._read_list(given, "Action", where)
        for text in texts:
            if not _ACTION.fullmatch(text):
                self._mistakes.note(f"{where}, Action", f"{text!r} is no action", "Write it as lambda:InvokeFunction.")
        if len(texts) == 1 and "*" not in texts[0] and "?" not in texts[0]:
            only = texts[0].lower()
            return (only.__ne__ if is_negated else only.__eq__), is_negated or only.startswith("lambda:")
        patterns = [self._compile(text.lower(), where) for text in texts]
        covers_unknown = is_negated or any(text == "*" or text.lower().startswith("lambda:") for text in texts)

        def covers(action: str) -> bool:
            return any(pattern(action, _NOBODY) for pattern in patterns) is not is_negated

        return covers, covers_unknown

    def _read_resources(self, given: Mapping[str, Any], where: str, *, is_allow: bool) -> Matches:
        """Reads Resource or NotResource. Where a variable of NotResource has no value, the resource left out is not
        known, so an Allow covers nothing."""
        texts, is_negated = self._read_list(given, "Resource", where)
        for text in texts:
            if not _RESOURCE.fullmatch(text):
                cure = "Write the ARN of a function, as in arn:aws:lambda:us-east-1:111122223333:function:f, or *."
                self._mistakes.note(f"{where}, Resource", f"{text!r} is no resource", cure)
        read = [read_pattern(text, f"{where}, Resource", self._mistakes, version=self._rules.version) for text in texts]
        patterns = [match_glob(pattern) for pattern in read]
        uncertain = [pattern for pattern in read if pattern.has_variables and is_negated and is_allow]
        if len(patterns) == 1 and not is_negated:
            return patterns[0]

        def covers(resource: str, principal: Principal) -> bool:
            if any(pattern.fill(principal) is None for pattern in uncertain):
                return False
            return any(pattern(resource, principal) for pattern in patterns) is not is_negated

        return covers

    def _compile(self, text: str, where: str) -> Matches:
        return match_glob(read_pattern(text, where, self._mistakes, version=self._rules.version))

    def _read_principals(self, given: Mapping[str, Any], where: str) -> PrincipalSet | None:
        if "NotPrincipal" in given:
            cure = 'Write "Principal": "*", and a Condition of ArnNotLike with aws:PrincipalArn.'
            self._mistakes.note(where, "NotPrincipal is not supported", cure)
        elif self._kind is PolicyKind.IDENTITY:
            if "Principal" in given:
                self._mistakes.note(where, "has a Principal, but the policy of a caller has none", "Remove it.")
        elif "Principal" not in given:
            self._mistakes.note(where, "has no Principal", 'Add "Principal": {"AWS": "<account id or ARN>"}.')
        else:
            return read_principals(given["Principal"], f"{where}, Principal", self._mistakes)
        return None


_NOBODY = Principal("", "", "", "")
