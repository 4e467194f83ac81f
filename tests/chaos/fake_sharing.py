"""A tiny gateway that shares its count with others in a store, exactly, or with a flaw: `python -m
tests.chaos.fake_sharing FLAW --config FILE`.

One command at a time. What this process holds it knows itself; where it does not know whether a command was carried out
(no reply in time), it registers its own numbers under a new epoch, and the store turns away what comes with an old one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.chaos.fake_gateway import CEILINGS, REASONS, FakeGateway, Flaw, answer, read_body, throttle

STORE_SECONDS = 0.5


class SharedFlaw(StrEnum):
    NONE = "none"
    ONE_TOO_MANY = "one too many"
    NEVER_PRUNES = "never prunes"
    PRUNES_EARLY = "prunes early"
    PRUNES_AT_LEASE = "prunes at the lease although the time-out is promised"
    NO_FENCE = "no fence"
    NO_REFILL = "no refill"
    TAKES_AGAIN = "takes again"
    OPEN = "open when the store is away"
    STAYS_AWAY = "stays away"
    FAILS_CALM = "fails in calm times"


# KEYS: sums, leases, epochs, born. ARGV: this gateway, its epoch, lease ms, ms until a prune, flags, command, ...
SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gid, epoch, lease, prune = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local flags, command = ARGV[5], ARGV[6]
local function subtract(gid)
  for _, lane in ipairs(redis.call('HKEYS', 'of:' .. gid)) do
    redis.call('HINCRBY', 'sums', lane, 0 - redis.call('HGET', 'of:' .. gid, lane))
  end
  redis.call('DEL', 'of:' .. gid)
end
for _, ended in ipairs(redis.call('ZRANGEBYSCORE', 'leases', 0, now - prune)) do
  subtract(ended)
  redis.call('ZREM', 'leases', ended)
  redis.call('HDEL', 'epochs', ended)
end
if command == 'register' then
  if epoch <= tonumber(redis.call('HGET', 'epochs', gid) or '0') then return 'LATE' end
  if redis.call('EXISTS', 'born') == 0 then
    redis.call('SET', 'born', flags == 'no refill' and 0 or now + lease)
  end
  subtract(gid)
  for i = 7, #ARGV, 2 do
    redis.call('HSET', 'of:' .. gid, ARGV[i], ARGV[i + 1])
    redis.call('HINCRBY', 'sums', ARGV[i], ARGV[i + 1])
  end
  redis.call('ZADD', 'leases', now + lease, gid)
  redis.call('HSET', 'epochs', gid, epoch)
  return 'OK'
end
local ends = tonumber(redis.call('ZSCORE', 'leases', gid) or '0')
local mine = tonumber(redis.call('HGET', 'epochs', gid) or '0')
if flags ~= 'no fence' and (ends < now or mine ~= epoch) then return 'FENCED' end
redis.call('ZADD', 'leases', now + lease, gid)
if command ~= 'release' and now < tonumber(redis.call('GET', 'born') or '0') then return 'REFILLING' end
if command == 'take' then
  if tonumber(redis.call('HGET', 'sums', ARGV[7]) or '0') >= tonumber(ARGV[8]) then return 'FULL' end
  redis.call('HINCRBY', 'sums', ARGV[7], 1)
  redis.call('HINCRBY', 'of:' .. gid, ARGV[7], 1)
elseif command == 'release' then
  redis.call('HINCRBY', 'sums', ARGV[7], -1)
  redis.call('HINCRBY', 'of:' .. gid, ARGV[7], -1)
end
return 'OK'
"""


class Away(Exception):
    """The store does not answer in time, or not yet."""


class SharedFake(FakeGateway):
    def __init__(self, settings: dict[str, Any], flaw: SharedFlaw) -> None:
        backend = urlsplit(settings["backend"]["url"])
        super().__init__((str(backend.hostname), int(backend.port or 0)), Flaw.NONE, 60)
        self.shared_flaw = flaw
        store = urlsplit(settings["counters"])
        self.store = (str(store.hostname), int(store.port or 0))
        self.lease = int(settings["shared"]["lease_seconds"] * 1000)
        self.prune = 0
        if settings["shared"]["reclaim_after"] == "timeout" and flaw is not SharedFlaw.PRUNES_AT_LEASE:
            self.prune = int(settings["backend"]["timeout_seconds"] * 1000)
        self.prune = {SharedFlaw.NEVER_PRUNES: 10**9, SharedFlaw.PRUNES_EARLY: -self.lease * 85 // 100}.get(
            flaw, self.prune
        )
        self.gid = os.urandom(4).hex()
        self.epoch = 0
        self.must_register = True
        self.failed = False
        self.admitted = 0
        self.is_ready = False
        self.lock = asyncio.Lock()
        self.connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    # The store.

    async def ask(self, command: str, *words: object) -> str:
        """One command, after a registration where one is due. Raises `Away`."""
        async with self.lock:
            if self.must_register:
                if self.shared_flaw is SharedFlaw.OPEN and command == "take":
                    raise Away  # at once: a heartbeat will find out when it is back
                await self.register()
            reply = await self.send(command, *words)
            if reply == "FENCED":
                self.must_register = True
                if command != "take":
                    return "OK"  # the registration says it
                await self.register()
                reply = await self.send(command, *words)
            if reply in ("REFILLING", "FENCED"):
                raise Away
            return reply

    async def register(self) -> None:
        self.epoch += 1
        held = [word for lane, count in self.in_flight.items() for word in (lane, count)]
        if await self.send("register", *held) != "OK":
            raise Away
        self.must_register = False

    async def send(self, command: str, *words: object) -> str:
        if self.failed and self.shared_flaw is SharedFlaw.STAYS_AWAY:
            raise Away
        head = ("EVAL", SCRIPT, 0, self.gid, self.epoch, self.lease, self.prune, self.shared_flaw, command)
        for attempt in range(3):
            try:
                async with asyncio.timeout(STORE_SECONDS):
                    return await self.exchange(*head, *words)
            except (OSError, asyncio.IncompleteReadError):
                self.failed = True
                self.disconnect()
                if self.shared_flaw is not SharedFlaw.TAKES_AGAIN or command == "register" or attempt == 2:
                    break
        self.must_register = self.shared_flaw is not SharedFlaw.NO_FENCE
        raise Away

    async def exchange(self, *words: object) -> str:
        """One command and its reply. Raises `OSError`, `IncompleteReadError`."""
        if self.connection is None:
            self.connection = await asyncio.open_connection(*self.store)
        reader, writer = self.connection
        writer.write(encode(*words))
        line = (await reader.readuntil(b"\r\n"))[:-2]
        if line.startswith(b"$"):
            return (await reader.readexactly(int(line[1:]) + 2))[:-2].decode()
        raise RuntimeError(line)

    def disconnect(self) -> None:
        if self.connection is not None:
            self.connection[1].close()
        self.connection = None

    async def renew(self) -> None:
        while True:
            try:
                self.is_ready = await self.ask("renew") == "OK"
            except Away:
                self.is_ready = False
            await asyncio.sleep(self.lease / 4000)

    # The gateway.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /readyz"):
                result: bytes | None = answer(200 if self.is_ready else 503, {})
            elif head.startswith(b"GET /limits"):
                result = self._limits()
            else:
                result = await self._invoke(head, reader)
            if result is not None:
                writer.write(result)
                await writer.drain()
        writer.close()

    async def _invoke(self, head: bytes, reader: asyncio.StreamReader) -> bytes | None:
        body = await read_body(head, reader)
        lane = "checkout" if b"/functions/checkout/" in head else "unreserved"
        self.count += 1
        try:
            is_full = await self.is_full(lane)
        except Away:
            return answer(500, {"Type": "Service", "Message": "the shared counters are away"}, "ServiceException")
        if is_full:
            return throttle(REASONS[lane])
        self.admitted += 1
        if self.shared_flaw is SharedFlaw.FAILS_CALM and self.admitted % 3 == 0:
            await self.give_back(lane)
            return answer(500, {"Type": "Service", "Message": "why not"}, "ServiceException")
        result = await self._forward(head, body)
        await self.give_back(lane)
        if result is None:
            return answer(500, {"Type": "Service", "Message": "it broke"}, "ServiceException")
        return answer(200, result)

    async def is_full(self, lane: str) -> bool:
        ceiling = CEILINGS[lane] + (self.shared_flaw is SharedFlaw.ONE_TOO_MANY)
        try:
            reply = await self.ask("take", lane, ceiling)
        except Away:
            if self.shared_flaw is not SharedFlaw.OPEN:
                raise
            reply = "OK"
        if reply == "OK":
            self.in_flight[lane] += 1
        return reply != "OK"

    async def give_back(self, lane: str) -> None:
        async with self.lock:  # so that no registration is under way that counts it
            self.in_flight[lane] -= 1
            if self.must_register:
                return
            with suppress(Away):
                if await self.send("release", lane) == "FENCED":
                    self.must_register = True


def encode(*words: object) -> bytes:
    pieces = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(pieces) + b"".join(b"$%d\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


async def main(flaw: str, config: str) -> None:
    settings = json.loads(await asyncio.to_thread(Path(config).read_text))
    async with SharedFake(settings, SharedFlaw(flaw)) as fake:
        print(f"Invoke API on http://127.0.0.1:{fake.port}, admin on http://127.0.0.1:{fake.port}", flush=True)
        await fake.renew()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[3]))
