"""Describes the calls of each path: what wrk sends, what the backend answers, and which proxies are compared."""

from dataclasses import dataclass

from loadtests.bench import calls
from loadtests.bench.calls import KIBIBYTE

FORWARDED, REFUSED, HELD = "forwarded", "refused", "held"
BODY, LARGE, STREAMED = "body", "large", "streamed"
PATHS = (FORWARDED, REFUSED)
BODIES = (BODY, LARGE, STREAMED)
CONNECTIONS = 32
MEBIBYTE = 1024 * KIBIBYTE
PIECES = 64


@dataclass(frozen=True)
class CallShape:
    """Describes the calls of one path.

    `function`: names the answer that the backend gives (backend.py). `buffer`: the size of nginx's buffers for a
    response. `peers`: the names of the peers that are compared; empty for all.
    """

    title: str
    function: str = "echo"
    request_bytes: int = KIBIBYTE
    response_bytes: int = KIBIBYTE
    connections: int = CONNECTIONS
    is_streamed: bool = False
    buffer: str = "4k"
    peers: tuple[str, ...] = ()

    def request(self, port: int) -> bytes:
        """Returns the bytes of one call."""
        return calls.invocation(self.function, port, calls.document(self.request_bytes), is_streamed=self.is_streamed)


_BODY_PEERS = ("nginx", "Envoy")
# With large bodies, few connections keep a core busy, and more would only take memory.
_LARGE_CONNECTIONS = 8
SHAPES = {
    FORWARDED: CallShape("1 KiB invoke forwarded"),
    REFUSED: CallShape("invoke refused"),
    HELD: CallShape("invoke held"),
    BODY: CallShape(
        "64 KiB invoke forwarded, 1 KiB answered",
        function=f"size-{KIBIBYTE}",
        request_bytes=64 * KIBIBYTE,
        peers=_BODY_PEERS,
    ),
    LARGE: CallShape(
        "6 MiB invoke forwarded, 6 MiB answered",
        function=f"size-{6 * MEBIBYTE}",
        request_bytes=6 * MEBIBYTE,
        response_bytes=6 * MEBIBYTE,
        connections=_LARGE_CONNECTIONS,
        buffer="64k",
        peers=_BODY_PEERS,
    ),
    STREAMED: CallShape(
        f"streamed invoke, 1 MiB answered in {PIECES} pieces",
        function=f"pieces-{PIECES}-{MEBIBYTE // PIECES}",
        response_bytes=MEBIBYTE,
        connections=_LARGE_CONNECTIONS,
        is_streamed=True,
        buffer="64k",
        peers=_BODY_PEERS,
    ),
}
