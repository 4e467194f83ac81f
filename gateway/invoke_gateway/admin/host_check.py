"""Keeps web sites from reaching the admin listener through a browser on the same machine.

A site can resolve its own name to 127.0.0.1 once its page is loaded ("DNS rebinding"). The browser then takes the
listener for that site, and lets the page read it and take holds. The name in the Host header gives the site away.
"""

from __future__ import annotations

from ipaddress import ip_address

from starlette.responses import JSONResponse

from ..asgi import App, Receive, Scope, Send


class LoopbackNames:
    """Refuses, with 421, requests that reach a loopback address under a name that a site may have. `own` is the host of
    the settings, which is always allowed."""

    def __init__(self, app: App, own: str = "") -> None:
        self.app = app
        self._own = _strip(own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_address((scope.get("server") or ("",))[0], loopback=True):
            host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
            if not is_own_name(host) and _strip(_name_in(host)) != self._own:
                refusal = JSONResponse(
                    {"error": "This listener is on loopback. Use 127.0.0.1 or localhost, not another name."},
                    status_code=421,
                )
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)


def is_own_name(host: str) -> bool:
    """Returns whether no site can have this Host: an address, localhost, or a name without a dot."""
    name = _strip(_name_in(host))
    return "." not in name or name.endswith(".localhost") or _is_address(name)


def _name_in(host: str) -> str:
    return host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]


def _strip(name: str) -> str:
    return name.removesuffix(".").lower()


def _is_address(text: str, *, loopback: bool = False) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # as [::] sees clients of IPv4
    return (mapped or address).is_loopback or not loopback
