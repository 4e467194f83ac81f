"""Serves routers of Python's frameworks, each on a loopback port of its own.

`python -m tests.live.routers` prints their ports as one line of JSON and serves until it is ended. A route's response
names the function that was run in `x-ran`. Frameworks that are not installed are left out.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import socket
import sys
import threading
import wsgiref.simple_server
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

OPERATIONS = ("invocations", "invoke-async", "response-streaming-invocations")
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
LOOPBACK = "127.0.0.1"

Serve = Callable[[socket.socket], Any]


def ran(name: str) -> dict[str, str]:
    return {"x-ran": quote(name, safe="")}


def flask(listener: socket.socket, *, merge_slashes: bool = True) -> None:
    from flask import Flask, Response
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            pass

    app = Flask("routers")
    app.url_map.merge_slashes = merge_slashes
    app.url_map.strict_slashes = False
    for operation in OPERATIONS:
        app.add_url_rule(
            f"/<date>/functions/<name>/{operation}",
            operation,
            lambda date, name: Response("{}", headers=ran(name)),
            methods=METHODS,
        )
    make_server(LOOPBACK, 0, app, threaded=True, request_handler=Quiet, fd=listener.detach()).serve_forever()


class Folded:
    """Reads the path in lower case, but for the name, as ASP.NET and IIS do."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self._app({**environ, "PATH_INFO": environ["PATH_INFO"].lower()}, start_response)


def serve_wsgi(app: Any, listener: socket.socket) -> None:
    class Quiet(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = wsgiref.simple_server.WSGIServer((LOOPBACK, 0), Quiet, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_name, server.server_port = LOOPBACK, listener.getsockname()[1]
    server.setup_environ()
    server.set_app(app)
    server.serve_forever()


def bottle(listener: socket.socket) -> None:
    import bottle

    app = bottle.Bottle()
    for operation in OPERATIONS:
        app.route(
            f"/<date>/functions/<name:re:.+>/{operation}",
            METHODS,
            lambda date, name: bottle.HTTPResponse("{}", headers=ran(name.encode("latin-1").decode(errors="replace"))),
        )
    serve_wsgi(Folded(app), listener)


def falcon(listener: socket.socket) -> None:
    import falcon

    class Invoke:
        def on_post(self, request: falcon.Request, response: falcon.Response, date: str, name: str) -> None:
            response.media = {}
            for key, value in ran(name).items():
                response.set_header(key, value)

        on_get = on_put = on_patch = on_delete = on_post

    app = falcon.App()
    app.req_options.strip_url_path_trailing_slash = True
    for operation in OPERATIONS:
        app.add_route(f"/{{date}}/functions/{{name}}/{operation}", Invoke())
    serve_wsgi(app, listener)


def serve_asgi(app: Any, listener: socket.socket, http: str) -> None:
    import uvicorn

    config = uvicorn.Config(app, http=http, log_level="critical", lifespan="off")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


def starlette(listener: socket.socket, *, http: str = "httptools", name: str = "name") -> None:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def invoke(request: Request) -> Response:
        return Response("{}", headers=ran(request.path_params["name"]))

    paths = [f"/{{date}}/functions/{{{name}}}/{operation}" for operation in OPERATIONS]
    serve_asgi(Starlette(routes=[Route(path, invoke, methods=METHODS) for path in paths]), listener, http)


def aiohttp(listener: socket.socket) -> None:
    from aiohttp import web

    async def invoke(request: web.Request) -> web.Response:
        return web.Response(text="{}", headers=ran(request.match_info["name"]))

    async def serve() -> None:
        app = web.Application(middlewares=[web.normalize_path_middleware(remove_slash=True, append_slash=False)])
        for operation in OPERATIONS:
            app.router.add_route("*", f"/{{date}}/functions/{{name}}/{operation}", invoke)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        await asyncio.Event().wait()

    asyncio.run(serve())


def tornado(listener: socket.socket) -> None:
    import tornado.httpserver
    import tornado.web

    class Invoke(tornado.web.RequestHandler):
        SUPPORTED_METHODS = tuple(METHODS)

        def post(self, name: str) -> None:
            for key, value in ran(name).items():
                self.set_header(key, value)
            self.finish("{}")

        get = put = patch = delete = post

    async def serve() -> None:
        routes = [(rf"(?i)/[^/]+/functions/([^/]+)/{operation}/?", Invoke) for operation in OPERATIONS]
        app = tornado.web.Application(routes, log_function=lambda handler: None)
        listener.setblocking(False)
        tornado.httpserver.HTTPServer(app).add_sockets([listener])
        await asyncio.Event().wait()

    asyncio.run(serve())


def django_like(listener: socket.socket) -> None:
    """Routes by regular expressions that ignore case, as Unicode has it, on a path that is decoded twice."""
    served = re.compile(rf"/+[^/]*/+functions/+([^/]+)/+(?:{'|'.join(OPERATIONS)})(?:[/.;].*)?", re.IGNORECASE)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path = unquote(environ["PATH_INFO"].encode("latin-1").decode(errors="replace"))
        found = served.fullmatch(path)
        start_response("200 OK" if found else "404 Not Found", list(ran(found[1]).items()) if found else [])
        return [b"{}"]

    serve_wsgi(app, listener)


ROUTERS: dict[str, tuple[str, Serve]] = {
    "flask": ("flask", flask),
    "flask, slashes kept": ("flask", lambda listener: flask(listener, merge_slashes=False)),
    "bottle, folded": ("bottle", bottle),
    "falcon": ("falcon", falcon),
    "starlette, httptools": ("starlette", starlette),
    "starlette, h11": ("starlette", lambda listener: starlette(listener, http="h11")),
    "starlette, :path": ("starlette", lambda listener: starlette(listener, name="name:path")),
    "aiohttp": ("aiohttp", aiohttp),
    "tornado, (?i)": ("tornado", tornado),
    "re.IGNORECASE": ("re", django_like),
}


def main() -> None:
    ports = {}
    for name, (package, serve) in ROUTERS.items():
        if importlib.util.find_spec(package) is None:
            continue
        listener = socket.socket()
        listener.bind((LOOPBACK, 0))
        listener.listen(128)
        ports[name] = listener.getsockname()[1]
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    print(json.dumps(ports), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
