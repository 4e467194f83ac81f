"""A tiny gateway with a queue in a file, which keeps the rules of events or breaks one: the proof of that proof.

`python -m tests.chaos.fake_queue FLAW --config FILE`
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from time import time
from typing import Any

from .fake_gateway import read_body

ACCOUNT = re.compile(rb"Credential=(\d+)/")
FUNCTION = re.compile(rb"/functions/([\w-]+)/")


class Flaw(StrEnum):
    NONE = "none"
    ANSWERS_FIRST = "answers-before-the-commit"
    FINISHES_FIRST = "finishes-before-the-run"
    FORGETS = "forgets-the-take-over"
    RUNS_TWICE = "runs-twice"
    ONE_TOO_MANY = "one-too-many"
    NO_LETTER = "no-letter"
    LETTER_TWICE = "letter-twice"
    GIVES_UP = "gives-up-after-one-attempt"
    HURRIES = "retries-at-once"
    STAYS = "stays"


class FakeQueue:
    def __init__(self, settings: dict[str, Any], flaw: Flaw) -> None:
        self.settings = settings
        self.flaw = flaw
        self.delays = settings["async"]["function_error_delays_seconds"]
        self.backend = settings["backend"]["url"].removeprefix("http://").split(":")
        self.db = sqlite3.connect(settings["async"]["store"].removeprefix("sqlite://"), isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")  # enough for a process that is killed
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, account TEXT, function TEXT, body BLOB, "
            "errors INT DEFAULT 0, due REAL DEFAULT 0, claimed INT DEFAULT 0)"
        )
        self.slots: dict[tuple[str, str | None], asyncio.Semaphore] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.busy: set[asyncio.Task[None]] = set()
        self.over = asyncio.Event()

    def functions(self, account: str) -> dict[str, Any]:
        name = account if account in self.settings["accounts"] else "default"
        found: dict[str, Any] = self.settings["accounts"][name]
        return found

    def slot(self, account: str, function: str) -> asyncio.Semaphore:
        of_account = self.functions(account)
        reserved = {
            name: row["reserved_concurrent_executions"]
            for name, row in of_account["functions"].items()
            if "reserved_concurrent_executions" in row
        }
        pool = of_account["concurrent_executions"] - sum(reserved.values())
        key = (account, function if function in reserved else None)
        ceiling = reserved.get(function, pool) + (self.flaw is Flaw.ONE_TOO_MANY)
        return self.slots.setdefault(key, asyncio.Semaphore(ceiling))

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        if self.flaw is not Flaw.STAYS:
            loop.add_signal_handler(signal.SIGTERM, self.over.set)
        else:
            loop.add_signal_handler(signal.SIGTERM, lambda: None)
        unclaimed = " WHERE NOT claimed" if self.flaw is Flaw.FORGETS else ""
        for (number,) in self.db.execute(f"SELECT id FROM events{unclaimed}").fetchall():
            self.start(number)
        servers = []
        for key, name in (("listen", "Invoke API"), ("admin", "admin")):
            host, port = self.settings[key].split(":")
            servers.append(await asyncio.start_server(self.accept, host, int(port)))
            print(f"{name} on http://{self.settings[key]}", flush=True)
        await self.over.wait()
        for server in servers:
            server.close()
        for task in self.tasks - self.busy:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while not self.over.is_set():
                head = await reader.readuntil(b"\r\n\r\n")
                body = await read_body(head, reader)
                if head.startswith(b"GET"):
                    ((left,),) = self.db.execute("SELECT count(*) FROM events").fetchall()
                    answer = json.dumps({"events": left}).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))
                    continue
                if self.flaw is not Flaw.ANSWERS_FIRST:
                    self.keep(head, body)
                writer.write(b"HTTP/1.1 202 Accepted\r\nx-amzn-requestid: r\r\ncontent-length: 0\r\n\r\n")
                if self.flaw is Flaw.ANSWERS_FIRST:
                    asyncio.get_running_loop().call_later(0.05, self.keep, head, body)
        writer.close()

    def keep(self, head: bytes, body: bytes) -> None:
        account, function = ACCOUNT.search(head), FUNCTION.search(head)
        assert function is not None
        row = ((account[1].decode() if account else "default"), function[1].decode(), body)
        number = self.db.execute("INSERT INTO events (account, function, body) VALUES (?, ?, ?)", row).lastrowid
        assert number is not None
        self.start(number)
        if self.flaw is Flaw.RUNS_TWICE and number % 20 == 0:
            self.start(number)

    def start(self, number: int) -> None:
        task = asyncio.get_running_loop().create_task(self.work(number))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def work(self, number: int) -> None:
        found = self.db.execute("SELECT account, function, body, errors, due FROM events WHERE id = ?", (number,))
        account, function, body, errors, due = found.fetchone()
        rules = self.functions(account)["functions"].get(function, {})
        if rules.get("reserved_concurrent_executions") == 0:
            self.tell(number, rules, body, "ZeroReservedConcurrency")
            return
        returns = 0
        while True:
            await asyncio.sleep(due - time())
            async with self.slot(account, function):
                if self.over.is_set():
                    return
                task = asyncio.current_task()
                assert task is not None
                self.busy.add(task)
                ending = await self.run(number, function, body)
            if not self.over.is_set():
                self.busy.discard(task)
            if ending == "success":
                self.db.execute("DELETE FROM events WHERE id = ?", (number,))
                return
            if ending == "error":
                errors += 1
                if errors > rules["maximum_retry_attempts"] or self.flaw is Flaw.GIVES_UP:
                    self.tell(number, rules, body, "RetriesExhausted")
                    return
                due = time() + (0 if self.flaw is Flaw.HURRIES else self.delays[min(errors, 2) - 1])
            else:
                due = time() + 0.05 * 2**returns
                returns += 1
            self.db.execute("UPDATE events SET errors = ?, due = ?, claimed = 0 WHERE id = ?", (errors, due, number))
            if self.over.is_set():
                return

    def tell(self, number: int, rules: dict[str, Any], body: bytes, condition: str) -> None:
        skips = self.flaw is Flaw.NO_LETTER and number % 2
        for kind, record in (
            ("dead_letter_queue", {"body": body.decode(), "attributes": {"ErrorCode": "200"}}),
            ("on_failure", {"requestContext": {"condition": condition}, "requestPayload": json.loads(body)}),
        ):
            if kind in rules and not (skips and kind == "dead_letter_queue"):
                with Path(rules[kind].removeprefix("file://")).open("a") as file:
                    file.write((json.dumps(record) + "\n") * (2 if self.flaw is Flaw.LETTER_TWICE else 1))
        self.db.execute("DELETE FROM events WHERE id = ?", (number,))

    async def run(self, number: int, function: str, body: bytes) -> str:
        if self.flaw is Flaw.FINISHES_FIRST:
            self.db.execute("DELETE FROM events WHERE id = ?", (number,))
        self.db.execute("UPDATE events SET claimed = 1 WHERE id = ?", (number,))
        reader, writer = await asyncio.open_connection(self.backend[0], int(self.backend[1]))
        try:
            path = f"/2015-03-31/functions/{function}/invocations"
            writer.write(f"POST {path} HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            return "trouble"
        finally:
            writer.close()
        if not head.startswith(b"HTTP/1.1 200"):
            return "trouble"
        return "error" if b"Function-Error" in head else "success"


if __name__ == "__main__":
    asyncio.run(FakeQueue(json.loads(Path(sys.argv[3]).read_text()), Flaw(sys.argv[1])).serve())
