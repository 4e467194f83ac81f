"""Imports all test files once, and forks the workers of xdist: `python worker_server.py LISTENER CONTROL`.

LISTENER is the number of a socket that `worker_client.py` connects to, with the streams of a worker. CONTROL is the
number of a pipe that ends with the run. A worker runs the code that execnet gives to `python -c`. It finds the test
modules in `sys.modules` when it collects them, and has the arguments, streams and handlers of an executed one.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
from types import ModuleType

import pytest

LARGEST = 1 << 16  # bytes of a request: a line of code
TASKS = "/proc/self/task"


class Importer:
    """Imports the test files in place of a collection, with pytest's rewriting of assertions."""

    def pytest_collection(self, session: pytest.Session) -> bool:
        from tests.support.shared_collection import import_modules, list_modules

        config = session.config
        import_modules(list_modules(config.rootpath, [config.rootpath / path for path in config.args]))
        return True


def serve(listener: socket.socket, control: int) -> str | None:
    """Forks a worker for each connection until the run ends. Returns the code of a worker, in that worker only."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(control, selectors.EVENT_READ)
        workers = []
        while control not in [key.fileobj for key, _ in selector.select()]:
            connection, _ = listener.accept()
            message, streams, _, _ = socket.recv_fds(connection, LARGEST, 3)
            if not (worker := os.fork()):
                connection.send(b"1")
                _take_streams(connection, streams)
                return message.decode()
            workers.append(worker)
            connection.close()
            for stream in streams:
                os.close(stream)
    for worker in workers:  # those that execnet could not end
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    return None


def _take_streams(connection: socket.socket, streams: list[int]) -> None:
    """Gives each stream its number. The connection stays open until this process ends, which the client sees."""
    connection.detach()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)


def main() -> None:
    listener, control = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    sys.path[0] = os.getcwd()  # in place of this file's folder
    pytest.main([], plugins=[Importer()])
    if len(os.listdir(TASKS)) > 1:
        print("The workers of xdist are not forked: a test file starts a thread when it is imported.", file=sys.stderr)
        return  # a fork copies one thread
    gc.freeze()  # a worker's collections then write to no page that all of them share
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the workers, which end this process
    code = serve(listener, control)
    if code is not None:
        signal.signal(signal.SIGINT, on_interrupt)
        listener.close()
        os.close(control)
        sys.argv = ["-c"]
        sys.modules["__main__"] = ModuleType("__main__")
        exec(code, sys.modules["__main__"].__dict__)


if __name__ == "__main__":
    main()
