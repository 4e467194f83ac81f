"""Each goal of speed has a figure, a bound that applies to the processor, and a verdict."""

from __future__ import annotations

import pytest

from loadtests.bench.compare import Row
from loadtests.bench.goals import goal
from loadtests.bench.goals.goal import GOALS, LATE, MEMORY, RATIOS, SHARED_ADD, TWO_WORKERS, Goal, Verdict
from loadtests.bench.load import Sample
from loadtests.bench.paths import BODIES, FORWARDED, PATHS, REFUSED
from loadtests.bench.peers import GATEWAY, PEERS, Peer, gateway

AMD, INTEL = "AMD EPYC 7763 64-Core Processor", "Intel(R) Xeon(R) Processor"


def row(peer: Peer, *microseconds: float, problem: str = "") -> Row:
    return Row(peer, samples=[Sample(one, 1_000, 500.0, 0, 0, 1.0, 2.0) for one in microseconds], problem=problem)


def named(name: str) -> Peer:
    return next(peer for peer in PEERS if peer.name == name)


def test_a_bound_depends_on_the_processor_where_it_must() -> None:
    (envoy,) = [one for one in GOALS if one.name == "forwarded / Envoy"]
    assert (envoy.bound(AMD), envoy.bound(INTEL)) == (0.85, 1.0)
    assert Verdict(envoy, AMD, 0.9).word == "MISSED"
    assert Verdict(envoy, INTEL, 0.9).word == "met"
    assert Verdict(envoy, AMD, 0.9).wanted == "0.85 (Intel 1.00)"
    assert Verdict(envoy, INTEL, 0.9).wanted == "1.00 (Intel; else 0.85)"


@pytest.mark.parametrize(("figure", "word"), [(1.79, "MISSED"), (1.8, "met"), (2.0, "met"), (None, "not measured")])
def test_two_workers_must_reach_their_bound(figure: float | None, word: str) -> None:
    (two,) = [one for one in GOALS if one.name == TWO_WORKERS]
    assert Verdict(two, AMD, figure).word == word
    assert Verdict(two, AMD, figure).wanted == "at least 1.80"


@pytest.mark.parametrize(("figure", "word"), [(2.3, "met"), (2.31, "MISSED")])
def test_a_ratio_must_not_exceed_its_bound(figure: float, word: str) -> None:
    assert Verdict(Goal("forwarded / nginx", 2.3), AMD, figure).word == word


def test_a_figure_is_the_ratio_of_medians() -> None:
    results = {
        FORWARDED: [
            row(gateway(), 50, 90, 60),
            row(named("nginx"), 20, 20, 70),
            row(named("Envoy"), 1, problem="fell"),
        ],
        REFUSED: [row(gateway(), 30), row(named("nginx"), 10), row(named("Traefik"), 40)],
    }
    assert goal.ratios(results, GATEWAY) == {
        "forwarded / nginx": 3.0,
        "refused / nginx": 3.0,
        "refused / Traefik": 0.75,
    }


def test_every_goal_has_a_measurement() -> None:
    assert {one.name for one in GOALS} == {*RATIOS, SHARED_ADD, TWO_WORKERS, MEMORY, LATE}
    names = {peer.name for peer in PEERS}
    for path, peer in RATIOS.values():
        assert path in (*PATHS, *BODIES)
        assert peer in names


def test_the_verdicts_have_the_figures_of_all_gateways() -> None:
    found = {one.goal.name: one for one in goal.verdicts(AMD, {MEMORY: 9.0}, {MEMORY: 17.3}, {MEMORY: 7.0})}
    assert len(found) == len(GOALS)
    memory = found[MEMORY]
    assert (memory.now, memory.earlier, memory.word) == (9.0, 17.3, "MISSED")
    assert (memory.compiled, memory.compiled_word) == (7.0, "met")
    assert (found[LATE].word, found[LATE].compiled_word) == ("not measured", "not measured")
