"""Floods each subject in rounds: the events that it accepts a second, and the cost of one.

Every sample is of a subject that was just started in an empty folder, with one core for itself. The load is on the
other. The gateway has two rows: with its slots held, so that it only accepts, and with functions that respond
immediately. There the cost of an event includes its run, counted until the last one has run.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from loadtests.bench import machine
from loadtests.bench.compare import Tell
from loadtests.bench.paths import HELD
from loadtests.bench.peers import Peer
from loadtests.bench.processes import Trouble
from loadtests.bench.queue import disk, library, subjects
from loadtests.bench.queue.sending import Sent, flood
from loadtests.bench.queue.subjects import Subject
from loadtests.bench.stage import Stage

CLIENTS = (1, 16, 64)
GATEWAY_CLIENTS = (*CLIENTS, 256)
SLOTS = 100
WARM_UP_SECONDS = 1
FSYNC_SECONDS = 0.3
# What has been accepted in one flood is run within this time.
PATIENCE_SECONDS = 60.0
ONLY_ACCEPTS, RUNS_TOO = "gateway, slots held", "gateway, runs them"


@dataclass(frozen=True)
class Sample:
    """One flood. `fsyncs` is how many bare ones a second the folder did just before; `flushes` how often the disk was
    flushed meanwhile, by anybody; `ran` how many of the accepted had run by its end, None where that is not known."""

    sent: Sent
    cpu_seconds: float
    fsyncs: float = 0.0
    flushes: int | None = None
    ran: int | None = None

    @property
    def per_second(self) -> float:
        return self.sent.accepted / self.sent.seconds

    @property
    def microseconds(self) -> float:
        """Returns CPU time per accepted event."""
        return 1e6 * self.cpu_seconds / self.sent.accepted if self.sent.accepted else float("nan")


@dataclass
class Row:
    """One subject at one number of clients: its samples, or why there are none. `about` tells what it does, `trouble`
    has an example of what was not answered 202; `subject` is its name in `kept`."""

    name: str
    clients: int
    about: str = ""
    problem: str = ""
    trouble: str = ""
    samples: list[Sample] = field(default_factory=list)
    subject: str = ""

    @property
    def per_second(self) -> float:
        return median(sample.per_second for sample in self.samples)

    @property
    def microseconds(self) -> float:
        return median(sample.microseconds for sample in self.samples)

    @property
    def p99_ms(self) -> float:
        return median(sample.sent.p99_ms for sample in self.samples)

    @property
    def failed(self) -> int:
        return sum(sample.sent.failed for sample in self.samples)

    @property
    def per_flush(self) -> float | None:
        """Returns events per flush of the disk; None when flushes are not counted or there were none."""
        flushes = sum(sample.flushes or 0 for sample in self.samples)
        return sum(sample.sent.accepted for sample in self.samples) / flushes if flushes else None

    @property
    def per_fsync(self) -> float:
        """Returns events accepted in the time of one bare fsync, each sample beside its own; the median."""
        return median(sample.per_second / sample.fsyncs for sample in self.samples)

    @property
    def ran(self) -> float | None:
        """Returns the share of accepted events that had run when the flood ended."""
        known = [sample for sample in self.samples if sample.ran is not None]
        accepted = sum(sample.sent.accepted for sample in known)
        # more may have run than the load was told of: its last ones it did not wait for
        return min(1.0, sum(sample.ran or 0 for sample in known) / accepted) if accepted else None


@dataclass(frozen=True)
class Job:
    row: Row
    sample: Callable[[Stage, str, int, float], Sample]


@dataclass
class Accepted:
    rows: list[Row]
    file_system: str = ""

    @property
    def fsyncs(self) -> list[float]:
        """Returns all measured bare fsyncs a second."""
        return [sample.fsyncs for row in self.rows for sample in row.samples]

    def row(self, name: str, clients: int) -> Row | None:
        return next((row for row in self.rows if (row.name, row.clients) == (name, clients)), None)


def run(gateway: Peer, rounds: int, seconds: float, only: Sequence[str], tell: Tell) -> Accepted:
    """Samples every subject in turn, in another order each round. Raises Trouble when the backend does not start."""
    jobs = chosen(_jobs(gateway), only)
    found = Accepted([job.row for job in jobs])
    with Stage(HELD, SLOTS) as stage:
        found.file_system = disk.file_system(stage.directory)
        for number in range(rounds):
            for job in turned(jobs, number):
                tell(f"accept: round {number + 1} of {rounds}: {job.row.name}, clients: {job.row.clients}")
                take(job, stage, number, seconds)
    return found


def chosen(jobs: Sequence[Job], only: Sequence[str]) -> list[Job]:
    """Returns the subjects with one of these words in their name, or all. Raises Trouble when none has one."""
    found = [job for job in jobs if not only or any(word.lower() in job.row.name.lower() for word in only)]
    if not found:
        names = "; ".join(dict.fromkeys(job.row.name for job in jobs))
        raise Trouble(f"nobody has {' or '.join(only)} in its name; there are: {names}")
    return found


def turned(jobs: Sequence[Job], number: int) -> Sequence[Job]:
    """Reverses every second round, so that no subject always follows the same one."""
    return jobs[::-1] if number % 2 else jobs


def take(job: Job, stage: Stage, number: int, seconds: float) -> None:
    """Adds a sample. After its first failure a row is skipped."""
    row = job.row
    if row.problem:
        return
    try:
        with machine.on_core(machine.PROXY_CORE):
            fsyncs = disk.fsyncs_per_second(stage.directory, FSYNC_SECONDS)
        sample = job.sample(stage, f"{row.name}-{row.clients}-{number}", row.clients, seconds)
    except Trouble as trouble:
        row.problem = str(trouble)
        return
    row.samples.append(replace(sample, fsyncs=fsyncs))
    if not sample.sent.accepted:
        row.problem = f"accepted nothing: {sample.sent.trouble}"
    elif sample.sent.trouble:
        row.trouble = sample.sent.trouble


def _jobs(gateway: Peer) -> list[Job]:
    both = (
        (ONLY_ACCEPTS, "no function can run", True),
        (RUNS_TOO, "functions that answer at once; CPU time until the last of them has run", False),
    )
    jobs = [
        Job(Row(name, clients, about, subject="gateway"), _gateway_sampler(gateway, is_held))
        for name, about, is_held in both
        for clients in GATEWAY_CLIENTS
    ]
    for subject in (subjects.MINISTACK, subjects.SERVERLESS):
        jobs += [
            Job(Row(subject.name, clients, subject.about, subject=subject.name), _peer_sampler(subject))
            for clients in CLIENTS
        ]
    for way in library.WAYS:
        jobs += [
            Job(Row(way.name, clients, way.about, subject=way.subject), _library_sampler(way)) for clients in CLIENTS
        ]
    return jobs


def _gateway_sampler(gateway: Peer, is_held: bool) -> Callable[[Stage, str, int, float], Sample]:
    def sample(stage: Stage, name: str, clients: int, seconds: float) -> Sample:
        place = stage.place(name)
        started = subjects.start_gateway(stage, place, gateway)
        try:
            if is_held:
                subjects.hold(place, SLOTS)
            ran_before = stage.backend_state()["calls"]
            request = started.request()
            flood(place.port, request, clients, WARM_UP_SECONDS)
            if not is_held:
                _wait_until_run(stage, place, ran_before)
            known, ran = subjects.received(place), stage.backend_state()["calls"]
            cpu, flushes = started.process.cpu_seconds(), disk.flushes(stage.directory)
            sent = flood(place.port, request, clients, seconds)
            flushed = _since(flushes, disk.flushes(stage.directory))
            ran_meanwhile = stage.backend_state()["calls"] - ran
            if not is_held:
                _wait_until_run(stage, place, ran_before)
            elif ran_meanwhile:
                raise Trouble(f"{ran_meanwhile} events ran although all slots were held")
            spent = started.process.cpu_seconds() - cpu
            compare_counts(subjects.received(place) - known, sent.accepted, clients)
            return Sample(sent, spent, flushes=flushed, ran=None if is_held else ran_meanwhile)
        finally:
            stage.processes.kill(started.process)

    return sample


def compare_counts(received: int, accepted: int, clients: int) -> None:
    """Compares the gateway's count with the load's: equal, or higher by the requests without a response. Raises
    Trouble."""
    if not accepted <= received <= accepted + clients:
        raise Trouble(f"the gateway counted {received} events, the load was answered 202 {accepted} times")


def _wait_until_run(stage: Stage, place: subjects.Place, before: int) -> None:
    wanted = subjects.received(place)  # asked once: answering costs the gateway CPU time
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (ran := stage.backend_state()["calls"] - before) < wanted:
        if time.monotonic() > deadline:
            raise Trouble(f"{ran} of {wanted} accepted events had run after {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.1)


def _peer_sampler(subject: Subject) -> Callable[[Stage, str, int, float], Sample]:
    def sample(stage: Stage, name: str, clients: int, seconds: float) -> Sample:
        started = subject.start(stage, stage.place(name))
        try:
            request = started.request()
            flood(started.place.port, request, clients, WARM_UP_SECONDS)
            cpu, flushes = started.process.cpu_seconds(), disk.flushes(stage.directory)
            sent = flood(started.place.port, request, clients, seconds)
            spent = started.process.cpu_seconds() - cpu
            started.process.check()
            return Sample(sent, spent, flushes=_since(flushes, disk.flushes(stage.directory)))
        finally:
            stage.processes.kill(started.process)

    return sample


def _library_sampler(way: library.Way) -> Callable[[Stage, str, int, float], Sample]:
    def sample(stage: Stage, name: str, clients: int, seconds: float) -> Sample:
        flushes = disk.flushes(stage.directory)
        sent, spent = library.flood(stage, name, way, clients, seconds)
        return Sample(sent, spent, flushes=_since(flushes, disk.flushes(stage.directory)))

    return sample


def _since(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
