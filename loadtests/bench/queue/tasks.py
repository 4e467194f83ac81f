"""Runs huey on SQLite in a process of its own: `python -m loadtests.bench.queue.tasks FOLDER FSYNC WHAT ...`.

FSYNC is `default`, `on` or `off`. WHAT is `flood CLIENTS SECONDS` or `send COUNT`, which print JSON, or `consume`. As
in the functions of the other peers, numbered events wait for the file `gate` and write their number to the file `ran`.
"""

import json
import logging
import sys
import threading
import time
from pathlib import Path

from huey import SqliteHuey

from loadtests.bench import calls
from loadtests.bench.queue.client import MARK

FSYNC = {"default": {}, "on": {"fsync": True}, "off": {"fsync": False}}
WORKERS = 4

folder = Path(sys.argv[1])
huey = SqliteHuey("bench", filename=str(folder / "huey.db"), immediate=False, results=False, **FSYNC[sys.argv[2]])


@huey.task()
def run(number: str, padding: str) -> None:
    if number:
        while not (folder / "gate").exists():
            time.sleep(0.05)
        with (folder / "ran").open("a") as ran:
            ran.write(number + "\n")


class Client(threading.Thread):
    """Enqueues until the time is over."""

    def __init__(self, ends: float) -> None:
        super().__init__()
        self.milliseconds: list[float] = []
        self.failed = 0
        self.trouble = ""
        self._ends = ends

    def run(self) -> None:
        while (began := time.monotonic()) < self._ends:
            try:
                run("", calls.ANSWER)
            except Exception as error:  # whatever it is, the event was not accepted
                self.failed += 1
                self.trouble = repr(error)
            else:
                self.milliseconds.append(1e3 * (time.monotonic() - began))


def flood(clients: int, seconds: float) -> dict[str, object]:
    run("", calls.ANSWER)  # the file and its tables are there
    before, began = time.process_time(), time.monotonic()
    threads = [Client(began + seconds) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed = time.monotonic() - began
    times = sorted(one for thread in threads for one in thread.milliseconds)
    return {
        "accepted": len(times),
        "failed": sum(thread.failed for thread in threads),
        "trouble": next((thread.trouble for thread in threads if thread.trouble), ""),
        "seconds": passed,
        "cpu_seconds": time.process_time() - before,
        "p50_ms": times[len(times) // 2] if times else 0,
        "p99_ms": times[len(times) * 99 // 100] if times else 0,
    }


def send(count: int) -> dict[str, object]:
    for number in range(1, count + 1):
        run(f"{number:08d}", "y" * (calls.KIBIBYTE - len(MARK)))
    return {"accepted": count}


if __name__ == "__main__":
    what, *arguments = sys.argv[3:]
    if what == "consume":
        logging.basicConfig(level=logging.WARNING)
        logging.getLogger("huey.consumer").setLevel(logging.INFO)  # it says when it has started
        huey.create_consumer(workers=WORKERS, worker_type="thread", periodic=False).run()
    else:
        found = send(int(arguments[0])) if what == "send" else flood(int(arguments[0]), float(arguments[1]))
        print(json.dumps(found))
