"""Describes what is wrong with a policy document: the place, and the cure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple


class PolicyMistake(NamedTuple):
    """Holds one mistake.

    where: the statement and its element; empty for the document itself
    cure: a sentence
    """

    where: str
    problem: str
    cure: str

    @property
    def placed_problem(self) -> str:
        return f"{self.where}: {self.problem}" if self.where else self.problem

    def __str__(self) -> str:
        return f"{self.placed_problem}. {self.cure}"


class PolicyMistakes(list[PolicyMistake]):
    """Collects the mistakes of one document."""

    def note(self, where: str, problem: str, cure: str) -> None:
        self.append(PolicyMistake(where, problem, cure))


class BadPolicy(Exception):
    """Reports a document of which nothing is in force.

    source: the file, or another name of the document
    """

    def __init__(self, source: str, mistakes: Iterable[PolicyMistake]) -> None:
        self.source = source
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{source}: {mistake}" for mistake in self.mistakes))


def advise(given: str, known: Iterable[str], otherwise: str) -> str:
    """Returns the sentence with the name that was most likely meant; `otherwise` where none is close."""
    by_fold = {name.casefold(): name for name in known}
    close = get_close_matches(given.casefold(), list(by_fold), n=1, cutoff=0.85)
    return f"Write {by_fold[close[0]]}." if close else otherwise
