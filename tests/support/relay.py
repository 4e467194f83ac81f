"""A relay before a store that loses replies and holds requests back, on a Unix socket of its own."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Relay:
    """What is `lost` (a text in a request, and how often) is carried out, and its reply is lost with the connection.
    What is `held` is carried out when `let_go` is called, and its connection ends before."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._lost: dict[bytes, int] = {}
        self._held: bytes | None = None
        self._kept: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]] = []
        self.url = ""
        self.is_cut = False

    def lose(self, text: str, times: int = 1) -> None:
        self._lost[text.encode()] = times

    def hold(self, text: str) -> None:
        self._held = text.encode()

    @property
    def has_lost_all(self) -> bool:
        return not any(self._lost.values())

    @property
    def has_held(self) -> bool:
        return bool(self._kept)

    async def let_go(self) -> None:
        """Carry out now what was held."""
        for reader, writer, data in self._kept:
            writer.write(data)
            await reader.read(1)
            writer.close()
        self._kept.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.close()
            return
        back, forth = await asyncio.open_unix_connection(self._target)
        replies = asyncio.create_task(self._pipe(back, writer))
        try:
            while data := await reader.read(1 << 20):
                if self._held is not None and self._held in data:
                    self._held = None
                    replies.cancel()
                    await asyncio.gather(replies, return_exceptions=True)
                    self._kept.append((back, forth, data))
                    await reader.read()  # until the gateway gives up
                    writer.close()
                    return
                text = next((text for text, times in self._lost.items() if times and text in data), None)
                if text is not None:
                    self._lost[text] -= 1
                    replies.cancel()
                    await asyncio.gather(replies, return_exceptions=True)
                    forth.write(data)
                    await back.read(1)
                    break
                forth.write(data)
        except OSError:
            pass
        finally:
            if not self._kept or self._kept[-1][1] is not forth:
                forth.close()
            replies.cancel()
            writer.close()

    async def _pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 20):
                target.write(data)
            target.close()


@asynccontextmanager
async def relaying(url: str) -> AsyncIterator[Relay]:
    relay = Relay(url.removeprefix("unix://"))
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        relay.url = f"unix://{folder}/s"
        server = await asyncio.start_unix_server(relay.serve, f"{folder}/s")
        try:
            yield relay
        finally:
            server.close()
