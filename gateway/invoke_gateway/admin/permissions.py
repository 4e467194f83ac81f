"""Serves `/permissions`: whether a caller may do something, and the statements that decide it."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..policy.permissions.permissions import Permissions
from ..policy.permissions.question import SIGNATURES_OFF, AccessQuestion, BadQuestion, answer_question
from .json_documents import Keys, answer_error, answer_json, read_values

_TEXT = (Annotated[str, msgspec.Meta(min_length=1, max_length=2048)], "a text of at most 2048 characters")
_KEYS: Keys = dict.fromkeys(AccessQuestion._fields, _TEXT)
_WHICH = "Who, and which function? Send both, as in /permissions?caller=AKIAIOSFODNN7EXAMPLE&function=checkout."


class PermissionEndpoint:
    """Serves `/permissions`.

    permissions: returns the policies in force; None where signatures are not verified
    is_secure: the gateway serves TLS
    """

    def __init__(self, permissions: Callable[[], Permissions | None], *, is_secure: bool) -> None:
        self._permissions = permissions
        self._is_secure = is_secure

    def routes(self) -> list[Route]:
        return [Route("/permissions", self.decide)]

    async def decide(self, request: Request) -> Response:
        values = read_values(dict(request.query_params), _KEYS, "The query")
        if "caller" not in values or "function" not in values:
            return answer_error(_WHICH, 400)
        permissions = self._permissions()
        if permissions is None:
            return answer_error(SIGNATURES_OFF, 409)
        try:
            question = AccessQuestion(**values)
            return answer_json(answer_question(permissions, question, now=time(), is_secure=self._is_secure))
        except BadQuestion as error:
            return answer_error(str(error), 400)
