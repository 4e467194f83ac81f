"""What `make bench-queue` makes of its samples, and which of them it does not believe."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loadtests.bench import calls
from loadtests.bench.paths import HELD
from loadtests.bench.processes import Trouble
from loadtests.bench.queue import disk, kept, subjects
from loadtests.bench.queue.accept import Job, Row, Sample, chosen, compare_counts, take, turned
from loadtests.bench.queue.sending import Sent
from loadtests.bench.stage import Stage


def sample(per_second: int = 1_000, failed: int = 0, trouble: str = "", **figures: Any) -> Sample:
    """A flood of two seconds."""
    figures = {"cpu_seconds": 0.1, "fsyncs": 500.0} | figures
    return Sample(Sent(2 * per_second, failed, 2.0, trouble, p99_ms=3.0), **figures)


class Lonely:
    """All of a stage that `take` needs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory


def test_a_row_is_the_median_of_its_samples() -> None:
    row = Row("gateway", 64, samples=[sample(900), sample(1_000), sample(5_000)])
    assert row.per_second == 1_000
    assert row.microseconds == 50
    assert row.per_fsync == 2


def test_each_sample_stands_beside_the_fsyncs_of_its_own_moment() -> None:
    row = Row(
        "gateway", 64, samples=[sample(1_000, fsyncs=1_000.0), sample(200, fsyncs=100.0), sample(30, fsyncs=10.0)]
    )
    assert row.per_fsync == 2


def test_flushes_are_those_of_all_samples() -> None:
    assert Row("gateway", 64, samples=[sample(flushes=100), sample(flushes=300)]).per_flush == 10


@pytest.mark.parametrize("flushes", [None, 0])
def test_without_a_flush_there_is_no_figure_for_it(flushes: int | None) -> None:
    assert Row("gateway", 64, samples=[sample(flushes=flushes)]).per_flush is None


def test_the_share_that_ran_is_of_the_accepted_and_never_above_all() -> None:
    assert Row("gateway", 64, samples=[sample(ran=1_000), sample(ran=2_000)]).ran == 0.75
    assert Row("gateway", 64, samples=[sample(ran=2_005)]).ran == 1
    assert Row("MiniStack", 64, samples=[sample()]).ran is None


def test_fsyncs_are_measured_before_each_sample(tmp_path: Path) -> None:
    row = Row("gateway", 64)
    take(Job(row, lambda *_: sample(fsyncs=0.0)), Lonely(tmp_path), 0, 2.0)  # type: ignore[arg-type]  # all it needs
    assert row.samples[0].fsyncs > 0
    assert list(tmp_path.iterdir()) == []


def test_after_its_first_trouble_a_row_is_left_alone(tmp_path: Path) -> None:
    asked = []

    def fail(*_: object) -> Sample:
        asked.append(1)
        raise Trouble("it does not start")

    row = Row("MiniStack", 1)
    for number in range(2):
        take(Job(row, fail), Lonely(tmp_path), number, 2.0)  # type: ignore[arg-type]  # all it needs
    assert (row.problem, asked) == ("it does not start", [1])


def test_a_flood_of_refusals_is_a_problem_and_some_of_them_a_note(tmp_path: Path) -> None:
    none, some = Row("none", 1), Row("some", 1)
    refused = sample(0, failed=7, trouble="7 answered 500")
    take(Job(none, lambda *_: refused), Lonely(tmp_path), 0, 2.0)  # type: ignore[arg-type]  # all it needs
    take(Job(some, lambda *_: sample(5, 7, "7 answered 500")), Lonely(tmp_path), 0, 2.0)  # type: ignore[arg-type]  # same
    assert none.problem == "accepted nothing: 7 answered 500"
    assert (some.problem, some.trouble, some.failed) == ("", "7 answered 500", 7)


def test_rows_are_chosen_by_a_word_of_their_name() -> None:
    jobs = [Job(Row(name, 1), lambda *_: sample()) for name in ("huey, default", "MiniStack", "gateway")]
    assert [job.row.name for job in chosen(jobs, ["HUEY", "mini"])] == ["huey, default", "MiniStack"]
    assert len(chosen(jobs, [])) == 3
    with pytest.raises(Trouble, match="nobody has celery in its name; there are: huey, default; MiniStack; gateway"):
        chosen(jobs, ["celery"])


def test_every_second_round_goes_backwards() -> None:
    jobs = [Job(Row(name, 1), lambda *_: sample()) for name in "abc"]
    assert ["".join(job.row.name for job in turned(jobs, number)) for number in range(3)] == ["abc", "cba", "abc"]


@pytest.mark.parametrize(("received", "is_right"), [(99, False), (100, True), (116, True), (117, False)])
def test_the_gateways_count_must_be_the_loads(received: int, is_right: bool) -> None:
    if is_right:
        compare_counts(received, accepted=100, clients=16)
    else:
        with pytest.raises(Trouble, match=f"counted {received} events"):
            compare_counts(received, accepted=100, clients=16)


def test_a_metric_is_the_sum_of_its_labels() -> None:
    text = '# HELP a_total x\na_total{function="a b"} 3.0\na_total{function="c"} 4\na_total_created 9\nb_total 5\n'
    assert subjects.sum_of(text, "a_total") == 7
    assert subjects.sum_of(text, "b_total") == 5


def test_a_peer_that_npm_cannot_fetch_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "npm error code\nENOTFOUND registry")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(Trouble, match="npm cannot fetch serverless-offline: npm error code ENOTFOUND registry"):
        subjects.install_serverless(tmp_path / "modules")


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/a / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\nnone /proc proc rw 0 0\n")
    assert disk.file_system(tmp_path / "store", mounts) == "tmpfs"
    assert disk.file_system(Path("/"), mounts) == "ext4"
    assert not disk.has_durable_disk("tmpfs")
    assert disk.has_durable_disk("ext4")


def test_only_who_ran_all_that_it_accepted_is_durable() -> None:
    words = [one.word for one in (kept.Kept("a", 200, 200), kept.Kept("b", 200, 199), kept.Kept("c", 0, 0))]
    assert words == ["yes", "no", "no"]
    assert kept.Kept("d", problem="missing").word == ""


def test_counting_goes_on_while_the_count_grows() -> None:
    counts = iter([0, 0, 1, 1, 2, 3])
    assert kept.count_until_quiet(lambda: next(counts), 3, quiet_seconds=10, sleep=0) == 3


def test_counting_ends_where_nothing_comes_any_more() -> None:
    assert kept.count_until_quiet(lambda: 2, 3, quiet_seconds=0.01, sleep=0) == 2


def test_each_number_counts_once(tmp_path: Path) -> None:
    (tmp_path / "ran").write_text("00000001\n00000002\n00000001\n")
    assert kept.numbers(tmp_path / "ran") == {"00000001", "00000002"}
    assert kept.numbers(tmp_path / "none") == set()


def calls_of(function: str, port: int) -> socket.socket:
    """A call that is sent and not waited for."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(calls.invocation(function, port))
    return connection


def test_the_backend_answers_late_where_it_should_and_forgets_when_told() -> None:
    with Stage(HELD, 1) as stage:
        port = stage.backend.port
        assert calls.ask(port, calls.invocation("late-10", port)).status == 200
        assert calls.ask(port, calls.invocation("echo", port)).status == 200
        assert stage.backend_state()["calls"] == 2
        with calls.hold(port) as held, calls_of("late-300", port) as late:
            assert not calls.is_answered(late, 0.05)
            assert calls.is_answered(late, 5)
            assert not calls.is_answered(held, 0)
        calls.get_json(stage.backend.admin, "/forget")
        assert stage.backend_state()["calls"] == 0
