"""The question to the backend: what is asked, how long an answer is kept, and replies that say nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from invoke_gateway.asgi import EXCHANGE, Receive, Scope, Send
from invoke_gateway.control.existence import UNKNOWN_ALIAS, Alias, BackendHasNoAnswer, Existence
from invoke_gateway.invocation import Function

ECHO = Function("echo")
HEADERS = {b"host": b"lambda.example", b"authorization": b"AWS4-HMAC-SHA256 Credential=AKIA/x", b"cookie": b"private"}


class Replies:
    """Stands for the last stage of the chain: replies to every request alike."""

    def __init__(self, status: int, document: Any = None, **headers: str) -> None:
        self.status = status
        self.body = document if isinstance(document, bytes) else json.dumps(document or {}).encode()
        self.headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body[:5], "more_body": True})
        await send({"type": "http.response.body", "body": self.body[5:]})


async def test_it_asks_with_the_callers_credentials_and_no_other_header() -> None:
    replies = Replies(200)
    assert await Existence(replies, region="us-east-1").has_function(ECHO, "a", HEADERS)
    (scope,) = replies.scopes
    assert (scope["method"], scope["raw_path"], scope["query_string"]) == ("GET", b"/2015-03-31/functions/echo", b"")
    assert dict(scope["headers"]) == {
        b"host": b"lambda.example",
        b"authorization": HEADERS[b"authorization"],
        b"accept-encoding": b"identity",
    }
    assert scope[EXCHANGE].invocation is None


async def test_an_account_and_a_qualifier_are_asked_for_as_the_caller_named_them() -> None:
    replies = Replies(200)
    function = Function("echo", None, "111122223333", "us-east-1")
    assert await Existence(replies, region="us-east-1").has_function(function, "a", {}, "$LATEST")
    (scope,) = replies.scopes
    assert scope["raw_path"].endswith(b"/arn%3Aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Aecho")
    assert scope["query_string"] == b"Qualifier=%24LATEST"


async def test_a_positive_answer_is_kept_for_a_second_and_by_qualifier_and_account() -> None:
    replies, now = Replies(200), [0.0]
    existence = Existence(replies, region="us-east-1", clock=lambda: now[0])
    for at, account, qualifier, asked in (
        (0.0, "a", None, 1),
        (0.9, "a", None, 1),
        (0.9, "a", "1", 2),
        (0.9, "b", None, 3),
        (1.1, "a", None, 4),
    ):
        now[0] = at
        await existence.has_function(ECHO, account, {}, qualifier)
        assert len(replies.scopes) == asked
    existence.forget("a", "echo")
    await existence.has_function(ECHO, "a", {})
    assert len(replies.scopes) == 5


@pytest.mark.parametrize(
    "replies",
    [
        Replies(404, {"Message": "Function not found: x"}, x_amzn_errortype="ResourceNotFoundException"),
        Replies(404, {"__type": "ResourceNotFoundException", "message": "no"}),
        Replies(404, {"Type": "User", "Message": "Function not found: x"}),
    ],
    ids=["header", "type", "text"],
)
async def test_lambdas_404_in_any_of_its_forms_is_no_function(replies: Replies) -> None:
    existence = Existence(replies, region="us-east-1")
    for _ in range(2):
        assert not await existence.has_function(ECHO, "a", {})
    assert len(replies.scopes) == 2  # it is not kept: the function may be made at any time
    assert await existence.find_alias(ECHO, "prod", {}) is None


@pytest.mark.parametrize(
    "replies",
    [
        Replies(404, b"404 page not found\n"),
        Replies(404, {"message": "no route"}, x_amzn_errortype="UnknownOperationException"),
        Replies(404, b"[]"),
        Replies(405),
        Replies(403, {"message": "denied"}, x_amzn_errortype="AccessDeniedException"),
        Replies(500, {"Message": "not found"}),
    ],
)
async def test_any_other_reply_says_nothing(replies: Replies) -> None:
    with pytest.raises(BackendHasNoAnswer) as caught:
        await Existence(replies, region="us-east-1").has_function(ECHO, "a", {})
    assert (caught.value.operation, caught.value.status) == ("GetFunction", replies.status)


@pytest.mark.parametrize(
    ("document", "alias"),
    [
        ({"FunctionVersion": "3"}, Alias("3", {})),
        (
            {"FunctionVersion": "3", "RoutingConfig": {"AdditionalVersionWeights": {"4": 0.5}}},
            Alias("3", {"4": 0.5}),
        ),
        ({"FunctionVersion": 3, "RoutingConfig": []}, Alias(None, {})),
    ],
)
async def test_an_alias_has_its_version_and_weights(document: dict[str, Any], alias: Alias) -> None:
    replies = Replies(200, document)
    assert await Existence(replies, region="us-east-1").find_alias(ECHO, "prod", {}) == alias
    assert replies.scopes[0]["raw_path"] == b"/2015-03-31/functions/echo/aliases/prod"


async def test_without_the_check_nothing_is_asked_and_everything_exists() -> None:
    replies = Replies(500)
    existence = Existence(replies, region="us-east-1", is_checked=False)
    assert await existence.has_function(ECHO, "a", {})
    assert await existence.find_alias(ECHO, "prod", {}) == UNKNOWN_ALIAS
    assert replies.scopes == []
