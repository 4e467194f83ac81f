"""Serves `/control`: what Lambda's control operations have set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..control.base import ControlStoreError
from ..control.bulk import BulkOperations, Mistakes, NothingSet
from .json_documents import (
    ACCOUNT,
    FUNCTION,
    FUNCTION_WORDS,
    Keys,
    answer_error,
    answer_json,
    read_body,
    read_object,
    read_values,
)

_EXAMPLE = (
    'Send an object such as {"accounts": {"default": {"functions": {"checkout": '
    '{"reserved_concurrent_executions": 5}}}}}.'
)
CONTROL_BODY = ("Control values", "fewer functions at once")
MOST_CONTROL_BYTES = 8 * 1024 * 1024  # of a document: the values of some 50,000 functions
_KEYS: Keys = {"function": (FUNCTION, FUNCTION_WORDS), "account": ACCOUNT}


class ControlEndpoint:
    """Serves `/control`.

    bulk: sets and drops values
    find_account: returns the account whose limits apply to a requested account
    """

    def __init__(self, bulk: BulkOperations, *, find_account: Callable[[str | None], str]) -> None:
        self._bulk = bulk
        self._find_account = find_account

    def routes(self) -> list[Route]:
        return [Route("/control", self.all, methods=["GET", "POST", "DELETE"])]

    async def all(self, request: Request) -> Response:
        try:
            if request.method == "POST":
                return await self._set_all(request)
            if request.method == "DELETE":
                return await self._reset(request.query_params)
        except ControlStoreError as error:
            return answer_error(f"Nothing was changed. {error}", 503)
        return answer_json(await self._bulk.describe(request.query_params.get("account")))

    async def _set_all(self, request: Request) -> Response:
        body = await read_body(request, *CONTROL_BODY, most_bytes=MOST_CONTROL_BYTES)
        try:
            return answer_json(await self._bulk.set_all(read_object(body, _EXAMPLE)))
        except Mistakes as error:
            rows = [mistake._asdict() for mistake in error.mistakes]
            count = f"{len(rows)} values are" if len(rows) > 1 else "1 value is"
            return answer_json({"error": f"{count} refused. Nothing was changed.", "mistakes": rows}, 400)

    async def _reset(self, query: Mapping[str, Any]) -> Response:
        values = read_values(dict(query), _KEYS, "The query")
        if "function" not in values:
            return answer_error("Which function? Add its name, as in DELETE /control?function=checkout.", 400)
        account = self._find_account(values.get("account"))
        try:
            return answer_json(await self._bulk.reset(account, values["function"]))
        except NothingSet:
            text = f"Nothing is set for {values['function']} of account {account}. GET /control lists what is set."
            return answer_error(text, 404)
