"""What workers report adds up."""

from __future__ import annotations

from invoke_gateway.workers.sums import LevelSums, StoreSums, WorstCredentials, sum_pairs


def test_slots_add_up_and_the_oldest_call_is_that_of_any_worker() -> None:
    levels = LevelSums()
    levels.replace([{"a": (2, 1.0), "b": (1, 9.0)}, {"a": (3, 4.0)}])
    assert levels.counts() == {"a": 5, "b": 1}
    assert (levels.in_use("a"), levels.oldest_seconds("a")) == (5, 4.0)
    levels.replace([{"b": (1, 0.5)}])
    assert levels.counts() == {"b": 1}
    assert (levels.in_use("a"), levels.oldest_seconds("a"), levels.oldest_seconds("b")) == (0, 0.0, 0.5)


def test_the_exchanges_with_the_store_add_up() -> None:
    sums = StoreSums()
    for _ in range(2):
        sums.add(
            {"batches": 1, "operations": 2, "failures": 3, "seconds": 0.5, "fallback": {"refused": 4, "admitted": 5}}
        )
    assert (sums.batches, sums.operations, sums.failures, sums.seconds) == (2, 4, 6, 1.0)
    assert sums.fallback == {"refused": 8, "admitted": 10}


def test_pairs_add_up() -> None:
    assert sum_pairs([(1, 2), (3, 4)]) == (4, 6)


def test_credentials_are_those_of_the_worker_with_the_worst() -> None:
    worst = WorstCredentials()
    assert (worst.describe(), worst.remaining_seconds) == ({}, None)
    present = {"credentials": "present", "credentials_expire_in_seconds": 900}
    expiring = {"credentials": "expiring", "credentials_expire_in_seconds": 120}
    missing = {"credentials": "missing", "credentials_error": "no variable"}
    worst.replace([(present, 900.0), (expiring, 120.4)])
    assert (worst.describe(), worst.remaining_seconds) == (expiring, 120.4)
    worst.replace([(present, 900.0), (missing, None), (expiring, 120.4)])
    assert (worst.describe(), worst.remaining_seconds) == (missing, 120.4)
    worst.replace([({"credentials": "present"}, None)])
    assert (worst.describe(), worst.remaining_seconds) == ({"credentials": "present"}, None)
