"""The commands of Redis that the scripts use, over Python's dictionaries, and the scripts over these commands."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lupa.lua51
import msgspec

from invoke_gateway.counters.shared.script import ALL, Script

Value = Any

_lua = lupa.lua51.LuaRuntime(encoding="latin-1", unpack_returned_tuples=False)
_table = _lua.table


class Redis:
    """The data of one server. `clock` gives its time in microseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.keys: dict[str, Any] = {}
        self.ends: dict[str, float] = {}

    def copy_to(self, other: Redis) -> None:
        """What a replica has: values copied, so that the two go on apart."""
        other.keys = {key: value if isinstance(value, str) else dict(value) for key, value in self.keys.items()}
        other.ends = dict(self.ends)

    def call(self, command: str, *arguments: str | float) -> Value:
        return getattr(self, f"_{command.lower()}")(*(_text(argument) for argument in arguments))

    def hash(self, key: str) -> dict[str, str]:
        return self.keys.get(key, {})

    def _time(self) -> Value:
        seconds, microseconds = divmod(self.clock(), 1_000_000)
        return _table(str(seconds), str(microseconds))

    def _hget(self, key: str, field: str) -> Value:
        return self.hash(key).get(field, False)

    def _hmget(self, key: str, *fields: str) -> Value:
        found = self.hash(key)
        return _table(*(found.get(field, False) for field in fields))

    def _hgetall(self, key: str) -> Value:
        return _table(*(item for pair in self.hash(key).items() for item in pair))

    def _hset(self, key: str, *pairs: str) -> Value:
        self.keys.setdefault(key, {}).update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(pairs) // 2

    def _hincrby(self, key: str, field: str, by: str) -> Value:
        found = self.keys.setdefault(key, {})
        value = int(found.get(field, "0")) + int(by)
        found[field] = str(value)
        return value

    def _hdel(self, key: str, *fields: str) -> Value:
        found = self.keys.get(key, {})
        gone = sum(found.pop(field, None) is not None for field in fields)
        if key in self.keys and not found:
            del self.keys[key]
        return gone

    def _del(self, *keys: str) -> Value:
        return sum(self.keys.pop(key, None) is not None for key in keys)

    def _get(self, key: str) -> Value:
        if key in self.ends and self.clock() >= self.ends[key]:
            del self.ends[key]
            del self.keys[key]
        return self.keys.get(key, False)

    def _set(self, key: str, value: str, px: str, milliseconds: str) -> Value:
        assert px == "PX", px
        self.keys[key] = value
        self.ends[key] = self.clock() + int(milliseconds) * 1000
        return "OK"

    def _zadd(self, key: str, score: str, member: str) -> Value:
        self.keys.setdefault(key, {})[member] = _text(float(score))
        return 1

    def _zrem(self, key: str, *members: str) -> Value:
        return self._hdel(key, *members)

    def _ranked(self, key: str) -> list[tuple[str, str]]:
        return sorted(self.hash(key).items(), key=lambda item: (float(item[1]), item[0]))

    def _zrange(self, key: str, first: str, last: str, *options: str) -> Value:
        return self._cut(self._ranked(key), first, last, options)

    def _zrevrange(self, key: str, first: str, last: str, *options: str) -> Value:
        return self._cut(self._ranked(key)[::-1], first, last, options)

    @staticmethod
    def _cut(ranked: list[tuple[str, str]], first: str, last: str, options: tuple[str, ...]) -> Value:
        end = int(last)
        found = ranked[int(first) : None if end == -1 else end + 1]
        if options == ("WITHSCORES",):
            return _table(*(item for pair in found for item in pair))
        assert not options, options
        return _table(*(member for member, _ in found))

    def _zrangebyscore(self, key: str, least: str, most: str) -> Value:
        low, high = float(least), float(most)
        return _table(*(member for member, score in self._ranked(key) if low <= float(score) <= high))

    def _zscore(self, key: str, member: str) -> Value:
        return self.hash(key).get(member, False)


def _text(value: str | float) -> str:
    """As Redis makes a script's arguments into strings."""
    if isinstance(value, str):
        return value
    assert not isinstance(value, bool), "Redis refuses booleans"
    assert math.isfinite(value), value
    return f"{value:.17g}"


class Library:
    """Compiled scripts. `change` may give another source for one of them, to see that the simulation notices."""

    def __init__(self, change: Callable[[str, str], str] = lambda name, source: source) -> None:
        self._compiled = {script.sha: self._compile(script, change(script.name, script.source)) for script in ALL}

    @staticmethod
    def _compile(script: Script, source: str) -> Any:
        make = _lua.eval(
            "function(redis, cmsgpack) return function(source) local f = assert(loadstring(source))"
            " setfenv(f, setmetatable({redis = redis, cmsgpack = cmsgpack}, {__index = _G})) return f end end"
        )
        wrapped = f"return function(KEYS, ARGV) {source}\nend"
        return make(_table(call=_call), _table(pack=_pack, unpack=_unpack))(wrapped)()

    def run(self, server: Redis, script: Script, key: str, argument: bytes) -> bytes:
        global _server
        _server = server
        reply: str = self._compiled[script.sha](_table(key), _table(argument.decode("latin-1")))
        return reply.encode("latin-1")


_server: Redis


def _call(*arguments: Any) -> Value:
    return _server.call(*arguments)


def _unpack(text: str) -> Any:
    return _lua.table_from(msgspec.msgpack.decode(text.encode("latin-1")), recursive=True)


def _pack(value: Any) -> str:
    return msgspec.msgpack.encode(_plain(value)).decode("latin-1")


def _plain(value: Any) -> Any:
    if lupa.lua51.lua_type(value) != "table":
        return value
    items = dict(value.items())
    if items.keys() == set(range(1, len(items) + 1)):  # cmsgpack, too, makes an empty table an array
        return [_plain(items[place]) for place in range(1, len(items) + 1)]
    return {key: _plain(item) for key, item in items.items()}
