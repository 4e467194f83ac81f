"""Embeds a demo backend: five functions behind Lambda's Invoke API, as one small ASGI application.

    echo    returns its event, byte for byte
    sleep   {"seconds": s}: waits (1 second by default), returns {"slept": s}
    fail    ends in a function error
    blob    {"bytes": n}: returns a JSON string of exactly n bytes, its quotes included (1,024 by default)
    stream  {"chunks": c, "bytes": b, "seconds": s}: writes a JSON string of c × b bytes in c chunks, s
            seconds apart (by default 3 chunks of 1,024 bytes at once)

Each function also has every longer name that continues with a hyphen: `sleep-checkout` and `sleep-search` are both
`sleep`, with limits of their own.

The response to each synchronous invocation carries `x-demo-running`: the number of such calls at its start, itself
included, in all and of each function (overlap.py). A load test reads there how many calls the gateway admitted.

The backend is for newcomers and load tests. It behaves like Lambda where a client or the gateway sees a difference
(headers, shapes of errors, invocation types), and it is cheap. Any qualifier is taken for an alias of $LATEST.
"""

from invoke_gateway.demo.api import DemoBackend

__all__ = ["DemoBackend"]
