"""The sections of the settings: rules between their keys."""

from pathlib import Path

from tests.settings.reading import problem_of


def test_the_store_must_answer_well_within_the_lease(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "shared: {lease_seconds: 2, store_timeout_seconds: 0.6}")
    assert problem.key == "shared.store_timeout_seconds"
    assert "lower it to 0.5" in problem.cure


def test_every_origin_is_allowed_alone(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 'cors: {allow_origins: ["*", "http://a"]}')
    assert (problem.message, problem.cure) == (
        "has * beside other origins",
        "write * alone: it allows every origin",
    )
    problem = problem_of(tmp_path, "cors: {allow_origins: http://a}")
    assert problem.message.startswith('must be a list of origins, such as [http://localhost:3000], or ["*"]')
