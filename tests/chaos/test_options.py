"""Tests wrong and renamed options of `prove`."""

from __future__ import annotations

import errno
import os

import pytest
from click import Context
from click.testing import CliRunner

from invoke_gateway.chaos.command import prove
from invoke_gateway.chaos.options import RENAMED, choose_partition_seconds, read_seeds
from invoke_gateway.cli.main import main


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--seed 1 --seeds 2", "one or the other"),
        ("--seed 1,2 --seeds 2", "one or the other"),
        ("--seed 1,x", "'1,x' is not a list of whole numbers, such as 7 or 7,8."),
        ("--gateway http://127.0.0.1:1", "also give --admin and --backend-listen"),
        ("--backend-timeout 3", "also give --gateway"),
        ("--gateway https://x:1 --admin x:2 --backend-listen x:3", "plain HTTP"),
        ("--gateway x --admin x:2 --backend-listen x:3", "HOST:PORT"),
        ("--gateways 3", "give --redis spawn"),
        ("--lease 5", "give --redis spawn"),
        ("--reclaim-after timeout", "give --redis spawn"),
        ("--faults killed", "give --redis spawn"),
        ("--partition-seconds 30", "give --redis spawn"),
        ("--redis spawn --faults killed,shot", "'shot': the faults are killed, stopped, stopped-shortly"),
        ("--redis spawn --lease 0.1", "not in the range"),
        ("--redis rediss://x:1/0", "is not redis://HOST:PORT/DATABASE"),
        ("--redis redis://127.0.0.1:1/0", "cannot be used"),
        ("--redis spawn --gateway x:1 --admin x:2 --backend-listen x:3", "one or the other"),
        ("--seeds 0", "0 is not in the range"),
        ("--minutes -1", "not in the range"),
        ("--report /nowhere/out.html", "/nowhere/out.html: " + os.strerror(errno.ENOENT)),
        ("--gateway 127.0.0.1:1 --admin 127.0.0.1:1 --backend-listen 127.0.0.1:0", "no gateway answers"),
        ("--gateway 127.0.0.1:1 --admin 127.0.0.1:1 --backend-listen 192.0.2.1:1", "cannot listen on"),
    ],
)
def test_wrong_use_says_what_to_do_and_exits_with_2(options: str, text: str) -> None:
    ran = CliRunner().invoke(main, ["prove", *options.split()])
    assert ran.exit_code == 2
    assert text in " ".join(ran.output.split())
    assert "Traceback" not in ran.output


@pytest.mark.parametrize(
    ("texts", "seeds"), [(("7",), [7]), (("7,8",), [7, 8]), ((" 7, -8,", "9"), [7, -8, 9]), ((), [])]
)
def test_seeds_are_given_between_commas_and_by_the_same_option_again(texts: tuple[str, ...], seeds: list[int]) -> None:
    (option,) = (each for each in prove.params if each.name == "named")
    assert read_seeds(Context(prove), option, texts) == seeds


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
@pytest.mark.parametrize("form", ["{}=killed", "{} 1"])
def test_an_old_name_of_an_option_is_answered_with_the_new_one(old: str, new: str, form: str) -> None:
    ran = CliRunner().invoke(main, ["prove", *form.format(old).split()])
    assert ran.exit_code == 2
    assert f"{old} is now {new}: give {new}." in ran.output


def test_with_two_minutes_for_a_seed_a_gateway_is_cut_off_for_thirty_seconds() -> None:
    assert [choose_partition_seconds(None, seconds) for seconds in (0.0, 119.0, 120.0)] == [0.0, 0.0, 30.0]
    assert choose_partition_seconds(5.0, 120.0) == 5.0
