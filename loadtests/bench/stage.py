"""Sets up one path: its backend and the proxies in front of it, each in the state where all calls are alike.

*forwarded*: each proxy has a limit in flight that is never reached. *refused*: its limit is 1 and a waiting call holds
it, so every other call is refused. *held*: the caller sets the limit, and the backend keeps calls waiting until their
release. The paths of `BODIES` are forwarded calls with larger bodies.
"""

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from loadtests.bench import calls, machine
from loadtests.bench.load import Sample, measure
from loadtests.bench.paths import CONNECTIONS, FORWARDED, REFUSED, SHAPES
from loadtests.bench.peers import HOLDING_BACKEND, Peer, Place
from loadtests.bench.processes import Process, Processes, Trouble

# Ten times this many requests a second is also the gateway's default rate: beyond what a core can do.
PLENTY = 10_000


@dataclass(frozen=True)
class Running:
    """Holds a started proxy. `request`: the file with the bytes that wrk sends it."""

    peer: Peer
    process: Process
    port: int
    admin: int
    request: Path
    keeps_connections: bool
    connections: int = CONNECTIONS

    def measure(self, seconds: float) -> Sample:
        return measure(self.process, self.port, self.request, seconds, connections=self.connections)


class Stage:
    """Runs a path's backend, and starts peers. Leaving the block ends them all."""

    def __init__(self, path: str, limit: int | None = None, workers: int = 1, connections: int = 4096) -> None:
        """Takes the most `workers` that a proxy has. The backend has as many, the cores that they leave, and at most so
        many `connections`."""
        self.connections = connections
        self.path = path
        self.workers = workers
        self.shape = SHAPES[path]
        self.load_cores = machine.spare_cores(workers) if workers > 1 else (machine.LOAD_CORE,)
        self.limit = limit or (1 if path == REFUSED else PLENTY)
        self._stack = ExitStack()

    def __enter__(self) -> "Stage":
        with self._stack as stack:
            self.directory = Path(stack.enter_context(TemporaryDirectory(prefix="invoke-gateway-bench-")))
            self.processes = stack.enter_context(Processes())
            self.backend = self._start_backend()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self, peer: Peer, prefix: Sequence[str] = (), workers: int = 1) -> Running:
        """Starts it, checks its responses, and on the refused path fills its slot. Raises Trouble."""
        place = replace(self.place(peer.name), workers=workers)
        process = self.spawn(peer, place, prefix)
        process.wait_for(place.port)
        return self.try_out(peer, process, place, self.shape.request(place.port))

    def place(self, name: str) -> Place:
        """Makes a place of its own in front of the backend."""
        return Place(self._directory(name), self.backend.port, self.limit, self.shape.buffer)

    def spawn(self, peer: Peer, place: Place, prefix: Sequence[str] = ()) -> Process:
        """Starts it there, with `prefix` before its command. Raises Trouble when it is missing."""
        program = peer.find()
        if program is None:
            raise Trouble(f"missing ({peer.install})")
        return self.processes.start(
            peer.name,
            [*prefix, *peer.command(program, place)],
            place.directory,
            core=machine.proxy_cores(place.workers),
            environment={**dict(peer.environment), "HOME": str(place.directory)},
        )

    def try_out(self, peer: Peer, process: Process, place: Place, call: bytes) -> Running:
        """Brings a listening process to the state in which it answers this path's calls correctly. Raises Trouble."""
        answer = calls.ask_until(place.port, call, 200)
        if len(answer.body) < self.shape.response_bytes:
            raise Trouble(f"answered {len(answer.body)} bytes instead of {self.shape.response_bytes}")
        if self.path == REFUSED and peer.refuses:
            self._hold(peer, place)
            answer = calls.ask_until(place.port, call, peer.refuses)
            if peer.saying not in answer.body:
                raise Trouble(f"refused, but for another reason: {answer.body[:200].decode(errors='replace')}")
        request = place.directory / "request"
        request.write_bytes(call)
        return Running(peer, process, place.port, place.admin, request, answer.keeps_connection, self.shape.connections)

    def keep(self, connection: socket.socket) -> None:
        """Closes it when the block is left, not before."""
        self._stack.enter_context(connection)

    def release(self) -> None:
        """Ends the calls that the backend keeps waiting."""
        if self.path != FORWARDED:
            calls.get_json(self.backend.admin, "/release", seconds=30)

    def backend_state(self) -> dict[str, int]:
        """Returns the counts of the holding backend (backend.py)."""
        state: dict[str, int] = calls.get_json(self.backend.admin, "/state")
        return state

    def _start_backend(self) -> Place:
        place = Place(
            self._directory("backend"), backend=0, limit=0, workers=self.workers, connections=self.connections
        )
        if self.path == FORWARDED:
            config = place.write("backend.conf", answer=calls.ANSWER)
            command = ["nginx", "-e", "stderr", "-p", str(place.directory), "-c", str(config)]
            name = "the backend (nginx: apt install nginx-light)"
        else:
            command = [place.fill(part) for part in HOLDING_BACKEND]
            name = "the holding backend"
        process = self.processes.start(
            name, command, place.directory, core=self.load_cores or machine.proxy_cores(self.workers)
        )
        process.wait_for(place.port)
        self.backend_process = process
        return place

    def _hold(self, peer: Peer, place: Place) -> None:
        """Fills the peer's one slot (and its waiting room, if any) with calls that do not end."""
        time.sleep(0.1)  # the slot of the call before must surely be free again
        before = self.backend_state()["running"]
        for number in range(peer.holds):
            held = self._stack.enter_context(calls.hold(place.port))
            if calls.is_answered(held):
                raise Trouble(f"call {number + 1} of {peer.holds} was not held")
        if self.backend_state()["running"] != before + 1:
            raise Trouble("the call that should fill its slot did not reach the backend")

    def _directory(self, name: str) -> Path:
        directory = self.directory / name.replace(" ", "-")
        directory.mkdir()
        return directory
