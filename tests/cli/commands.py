"""Runs commands in this process, and an admin listener with one response for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

from click import Context, Group
from click.testing import CliRunner, Result

from invoke_gateway.cli.main import main


def flags_of(command: str, arguments: str = "") -> set[str]:
    """Return the flags of a command, or of the command of its group that the arguments name."""
    found = main.get_command(Context(main), command)
    assert found is not None, command
    if isinstance(found, Group):
        first = next(iter(arguments.split()), "")
        found = found.commands.get(first) or (found.commands["list"] if command == "in-flight" else found)
    return {name for parameter in found.params for name in parameter.opts}


def invoke(*arguments: str, **environment: str) -> Result:
    variables = {f"INVOKE_GATEWAY_{name}": value for name, value in environment.items()}
    return CliRunner().invoke(main, list(arguments), env=variables, prog_name="invoke-gateway")


@contextmanager
def admin(answer: str, status: int = 200) -> Iterator[str]:
    """An admin listener that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer.encode()
            self.send_response(status if self.path == "/limits" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
