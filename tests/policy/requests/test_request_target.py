"""Which paths are invocations, of what, and what is said of bad ones."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable
from time import process_time
from urllib.parse import quote

import botocore.session
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from invoke_gateway.invocation import Function, Invocation, InvocationType, Operation
from invoke_gateway.policy.requests.request_target import READ_HEADERS, BadTarget, parse_target
from invoke_gateway.refusals import Refusal, render

REGION = "us-east-1"
INVOKE = "/2015-03-31/functions/{}/invocations"
INVOKE_ASYNC = "/2014-11-13/functions/{}/invoke-async"
STREAM = "/2021-11-15/functions/{}/response-streaming-invocations"
ARN = "arn:aws:lambda:us-east-1:111122223333:function:checkout"
NAME_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?"
    r"(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)


def parse(
    path: str, query: str = "", headers: dict[str, str] | None = None, region: str = REGION
) -> Invocation | BadTarget | None:
    encoded = {name.encode(): value.encode("latin-1") for name, value in (headers or {}).items()}
    return parse_target(path.encode("latin-1"), query.encode("latin-1"), encoded, region)


def function_of(path: str, query: str = "") -> Function:
    found = parse(path, query)
    assert isinstance(found, Invocation), found
    return found.function


def text_of(path: str, query: str = "", headers: dict[str, str] | None = None) -> str:
    found = parse(path, query, headers)
    assert isinstance(found, BadTarget), found
    assert found.refusal is Refusal.VALIDATION
    return str(found.values["text"])


# ---- operations and types -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "operation", "type_"),
    [
        (INVOKE, Operation.INVOKE, InvocationType.REQUEST_RESPONSE),
        (STREAM, Operation.INVOKE_WITH_RESPONSE_STREAM, InvocationType.REQUEST_RESPONSE),
        (INVOKE_ASYNC, Operation.INVOKE_ASYNC, InvocationType.EVENT),
        (INVOKE_ASYNC + "/", Operation.INVOKE_ASYNC, InvocationType.EVENT),
    ],
)
def test_each_operation_has_its_own_path(path: str, operation: Operation, type_: InvocationType) -> None:
    assert parse(path.format("checkout")) == Invocation(operation, Function("checkout"), type_)


def test_the_paths_are_those_of_the_service_model() -> None:
    model = botocore.session.get_session().get_service_model("lambda")
    for operation in Operation:
        http = model.operation_model(operation).http
        assert http["method"] == "POST"
        found = parse(http["requestUri"].replace("{FunctionName}", "checkout"))
        assert isinstance(found, Invocation)
        assert found.operation is operation


@pytest.mark.parametrize("type_", InvocationType)
def test_the_type_is_in_a_header(type_: InvocationType) -> None:
    found = parse(INVOKE.format("checkout"), headers={"x-amz-invocation-type": type_})
    assert found == Invocation(Operation.INVOKE, Function("checkout"), type_)


def test_the_old_operation_knows_no_type_header() -> None:
    found = parse(INVOKE_ASYNC.format("checkout"), headers={"x-amz-invocation-type": "DryRun"})
    assert isinstance(found, Invocation)
    assert found.type is InvocationType.EVENT


@pytest.mark.parametrize(
    "path",
    [
        "/2015-03-31/functions",
        "/2015-03-31/functions/",
        "/2015-03-31/functions/checkout",
        "/2015-03-31/functions/checkout/versions",
        "/2015-03-31/functions/checkout/code",
        "/2017-10-31/functions/checkout/concurrency",
        "/2019-09-30/functions/checkout/provisioned-concurrency",
        "/2015-03-31/event-source-mappings/",
        "/2015-03-31/functions/invocations",
        "/invocations",
        "/",
        "*",
        "",
        "/metrics",
    ],
)
def test_everything_else_is_no_invocation(path: str) -> None:
    assert parse(path) is None


# ---- names ----------------------------------------------------------------------------------------------------

NAMES = {
    "checkout": Function("checkout"),
    "check.out_2-x": Function("check.out_2-x"),
    "checkout:live": Function("checkout", "live"),
    "checkout:42": Function("checkout", "42"),
    "checkout:$LATEST": Function("checkout", "$LATEST"),
    "checkout:$LATEST.PUBLISHED": Function("checkout", "$LATEST.PUBLISHED"),
    "function:checkout": Function("checkout"),
    "111122223333:checkout": Function("checkout", None, "111122223333"),
    "111122223333:function:checkout": Function("checkout", None, "111122223333"),
    "111122223333:function:checkout:live": Function("checkout", "live", "111122223333"),
    "us-east-1:111122223333:function:checkout": Function("checkout", None, "111122223333", REGION),
    ARN: Function("checkout", None, "111122223333", REGION),
    f"{ARN}:live": Function("checkout", "live", "111122223333", REGION),
    f"{ARN}:$LATEST": Function("checkout", "$LATEST", "111122223333", REGION),
    "arn:aws-us-gov:lambda:us-east-1:111122223333:function:checkout": Function(
        "checkout", None, "111122223333", REGION, "aws-us-gov"
    ),
    "arn::lambda:us-east-1:111122223333:function:checkout": Function("checkout", None, "111122223333", REGION),
    "x" * 65: Function("x" * 65),
    "x" * 256: Function("x" * 256),
}


def plain(name: str) -> str:
    return name


def encoded(name: str) -> str:
    return quote(name, safe="")


def encoded_in_lower_case(name: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), encoded(name))


@pytest.mark.parametrize(("name", "function"), NAMES.items())
@pytest.mark.parametrize("path", [INVOKE, INVOKE_ASYNC, STREAM])
@pytest.mark.parametrize("write", [plain, encoded, encoded_in_lower_case])
def test_a_function_is_named_in_many_ways(
    name: str, function: Function, path: str, write: Callable[[str], str]
) -> None:
    """Name, name and qualifier, partial or full ARN; percent-encoded or not."""
    assert function_of(path.format(write(name))) == function


@pytest.mark.parametrize(
    ("query", "qualifier"),
    [
        ("Qualifier=live", "live"),
        ("Qualifier=%24LATEST", "$LATEST"),
        ("Qualifier=$LATEST", "$LATEST"),
        ("Other=1&Qualifier=7", "7"),
        ("%51ualifier=7", "7"),
        ("qualifier=7", None),
        ("Other=1", None),
        ("", None),
    ],
)
def test_a_qualifier_may_stand_in_the_query(query: str, qualifier: str | None) -> None:
    assert function_of(INVOKE.format("checkout"), query).qualifier == qualifier
    assert function_of(INVOKE.format(quote(ARN, safe="")), query).qualifier == qualifier


def test_a_qualifier_that_is_said_twice_must_be_the_same() -> None:
    assert function_of(INVOKE.format("checkout:live"), "Qualifier=live") == Function("checkout", "live")
    for name in ("checkout:live", "checkout:%24LATEST", quote(f"{ARN}:live", safe="")):
        assert parse(INVOKE.format(name), "Qualifier=other") == BadTarget(Refusal.QUALIFIER_CONFLICT, {})


@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-west-1", "eusc-de-east-1"])
def test_an_arn_of_another_region_is_not_found_here(region: str) -> None:
    """With AWS's own sentence, also for a partial ARN."""
    for name in (f"arn:aws:lambda:{region}:111122223333:function:f", f"{region}:111122223333:function:f"):
        found = parse(INVOKE.format(name))
        assert isinstance(found, BadTarget)
        assert found.refusal is Refusal.WRONG_REGION
        assert f"Functions from '{region}' are not reachable in this region ('us-east-1')" in (
            render(found.refusal, **found.values).body.decode()
        )


# ---- paths that a lenient backend takes for an invocation -----------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "//2015-03-31/functions/checkout/invocations",
        "/2015-03-31//functions/checkout/invocations",
        "/2015-03-31/functions//checkout///invocations",
        "/2015-03-31/functions/checkout/invocations/",
        "/2015-03-31/functions/checkout/invocations//",
        "/./2015-03-31/functions/./checkout/invocations/.",
        "/x/../2015-03-31/functions/y/../checkout/invocations",
        "/../2015-03-31/functions/checkout/invocations",
        "/%2e%2e/2015-03-31/functions/checkout/invocations",
        "/2015-03-31/functions/checkout%2Finvocations",
        "/2015-03-31%2ffunctions%2fcheckout%2finvocations",
        "/2015-03-31/%66unctions/checkout/invocations",
        "/2015-03-31/functions/checkout/invocation%73",
        "/2015-03-31/functions/%63heckout/invocations",
        "/2016-01-01/functions/checkout/invocations",
        "/2021-11-15/functions/checkout/invocations",
        "/2015-3-31/functions/checkout/invocations",
        "/latest/functions/checkout/invocations",
        "/2015-03-31/functions/checkout/invocations/again",
        "/2015-03-31/functions/checkout/invocations/again/and/again",
        "/2015-03-31/functions/checkout%2Finvocations%2Fagain",
    ],
)
def test_a_path_that_some_backend_runs_is_counted(path: str) -> None:
    """Or a slash too many would be a way around every limit."""
    assert parse(path) == Invocation(Operation.INVOKE, Function("checkout"), InvocationType.REQUEST_RESPONSE)


FOLDED = [
    "/2015-03-31/Functions/checkout/Invocations",
    "/2015-03-31/functions/checkout/INVOCATIONS",
    "/2015-03-31/functions/checkout/%49nvocations",
    "/2015-03-31/functions/checkout/invocation%C5%BF",  # a long s, which is an S in upper case
    "/2015-03-31/functions/checkout/%C4%B0nvocations",  # an I with a dot, and an i without: Turkish
    "/2015-03-31/functions/checkout/%C4%B1nvocations",
    "/2015-03-31/functions/checkout/%EF%BD%89nvocations",  # full width
    "/2015-03-31/functions/checkout/i%CC%87nvocations",
]
PARAMETERS = [
    "/2015-03-31/functions/checkout/invocations;x=1",
    "/2015-03-31/functions/checkout/invocations;",
    "/2015-03-31/functions;x=1/checkout/invocations",
    "/2015-03-31/functions%3Bx=1/checkout/invocations",
    "/2015-03-31;x=1/functions;/checkout/;y/invocations;z=/",
    "/;x/2015-03-31/functions/checkout/invocations",
    "/q/..;/2015-03-31/functions/checkout/invocations",
]
DECODED_AGAIN = [
    "/2015-03-31/functions/checkout/%2549nvocations",  # MiniStack decodes twice
    "/2015-03-31/functions/checkout/%252549nvocations",
    "/2015-03-31/functions/checkout%252Finvocations",
    "/2015-03-31/functions/checkout/%u0069nvocations",
    "/2015-03-31/functions/checkout/%c1%a9nvocations",  # an i in two bytes
    "/2015-03-31/functions/checkout%c0%afinvocations",
    "/2015-03-31/functions/checkout%e0%80%afinvocations",
    "/2015-03-31/functions/checkout%f0%80%80%afinvocations",
]
SLASHES = [
    "/2015-03-31\\functions\\checkout\\invocations",
    "/2015-03-31/functions/checkout%5Cinvocations",
    "//host/2015-03-31/functions/checkout/invocations",  # what `new URL(target, base)` makes of it
    "/\\user@host:1\\2015-03-31/functions/checkout/invocations",
    "//2015-03-31/host/functions/checkout/invocations",
    "//functions/checkout/invocations",  # MiniStack does not look at the date
    "/functions/checkout/invocations",
    "/2015-03-31//../functions/checkout/invocations",
    "/x/../%2e%2e/functions/checkout/invocations",
    "/2015-03-31/functions/other/%2e%2E/checkout/invocations",
    "/prefix/2015-03-31/functions/checkout/invocations",
]
ENDS = [
    "/2015-03-31/functions/checkout/invocations.json",
    "/2015-03-31/functions/checkout/invocations%20",
    "/2015-03-31/functions/checkout/%09invocations",
    "/2015-03-31/functions/checkout/invocations%0D%0A",
    "/2015-03-31/functions/checkout/invo%0Acations",
    "/2015-03-31/functions/checkout/invo%C2%ADcations",
    "/2015-03-31/functions/checkout/invocations%00",
    "/2015-03-31/functions/checkout/invocations%00.txt",
    "/2015-03-31/functions/checkout/invocations+",
    "/2015-03-31/functions/checkout/invocations%3Fx=1",
    "/2015-03-31/functions/checkout/invocations%23x",
]


@pytest.mark.parametrize("path", [*FOLDED, *PARAMETERS, *DECODED_AGAIN, *SLASHES, *ENDS])
def test_what_a_router_makes_of_a_path_is_counted(path: str) -> None:
    assert parse(path) == Invocation(Operation.INVOKE, Function("checkout"), InvocationType.REQUEST_RESPONSE)


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/2014-11-13/functions/checkout/Invoke-Async", Operation.INVOKE_ASYNC),
        ("/2014-11-13/functions/checkout/invo%E2%84%AAe-async;x", Operation.INVOKE_ASYNC),  # the sign of the Kelvin
        ("/2021-11-15/Functions/checkout/Response-Streaming-Invocations", Operation.INVOKE_WITH_RESPONSE_STREAM),
    ],
)
def test_every_operation_is_found_in_other_spellings(path: str, operation: Operation) -> None:
    found = parse(path)
    assert isinstance(found, Invocation)
    assert (found.operation, found.function.name) == (operation, "checkout")


def test_the_name_of_a_function_keeps_its_letter_case() -> None:
    """Names differ by letter case at AWS."""
    assert function_of("/2015-03-31/FUNCTIONS/CheckOut/INVOCATIONS").name == "CheckOut"


@pytest.mark.parametrize(
    "path",
    [
        "/2015-03-31/functions/a/invocations/../../b/invocations",
        "/2015-03-31/functions/a/invocations%2F..%2F..%2Fb/invocations",
        "/2015-03-31/functions/a/invocations/../invoke-async",
        "/2015-03-31/functions/x%2finvocations/../checkout/invocations",
        "/2\\functions\\a\\invocations/functions/b/invocations",
        "/2015-03-31/functions;x=1/checkout;x=1/invocations",
        "/2015-03-31/functions/check%256Fut/invocations",
        "/2015-03-31/Functions/check%256Fut/Invocations",
    ],
)
def test_a_path_that_backends_read_as_two_functions_is_refused(path: str) -> None:
    assert text_of(path).startswith("1 validation error detected: ")


def test_two_readings_are_told_with_the_form_to_send() -> None:
    assert text_of("/2015-03-31/functions/checkout/functions/../invocations") == (
        "1 validation error detected: The path can be read as Invoke of '..' and Invoke of 'checkout'. "
        "Send the path in the form /2015-03-31/functions/{FunctionName}/invocations."
    )


@pytest.mark.parametrize("piece", ["/", "a/", ";/", "%2e/", "%252525", "..;x/", "\\"])
def test_a_path_that_would_take_long_to_read_is_refused(piece: str) -> None:
    text = text_of(f"/{piece * 4000}/functions/checkout/Invocations")
    assert text.startswith("1 validation error detected: The path is longer than 4096 bytes or 32 segments. Send ")


@pytest.mark.parametrize(
    "path",
    [
        "/2015-03-31/functions/invocations/policy",
        "/2015-03-31/functions/invocations/versions",
        "/2015-03-31/functions/functions/policy",
        "/2019-09-25/functions/invocations/event-invoke-config",
        "/bucket/functions/invocations",
        "/2015-03-31/functions/checkout/invocations_",
        "/2015-03-31/functions/checkout/invocationsx",
        "/endpoints/functions/checkout",
        "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A111122223333%3Afunction%3Ainvocations",
    ],
)
def test_another_operation_of_a_function_with_such_a_name_is_none(path: str) -> None:
    assert parse(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "/2015-03-31/functions/checkout/invocations/other/invocations",
        "/2015-03-31/functions/a/b/invocations",
        "/2015-03-31/functions/a%2Fb/invocations",
        "/2015-03-31/functions/a%252Fb/invocations",
        "/2015-03-31/functions/ch%65ckout%00/invocations",
        "/2015-03-31/functions/checkout%0A/invocations",
        "/2015-03-31/functions/checkout%20/invocations",
        "/2015-03-31/functions/checkout;v=1/invocations",
        "/2015-03-31/functions/%D9%A1/invocations",
    ],
)
def test_a_path_whose_function_is_in_doubt_is_refused(path: str) -> None:
    """Rather than counted for one function and run for another."""
    assert "at 'functionName' failed to satisfy constraint" in text_of(path)


# ---- the contract's texts -------------------------------------------------------------------------------------


def test_a_bad_name_is_told_with_the_pattern() -> None:
    assert text_of(INVOKE.format("no%20name")) == (
        "1 validation error detected: Value 'no name' at 'functionName' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {NAME_PATTERN}"
    )


@pytest.mark.parametrize(
    ("name", "constraint"),
    [
        ("", "Member must have length greater than or equal to 1"),
        ("x" * 257, "Member must have length less than or equal to 256"),
    ],
)
@pytest.mark.parametrize("path", [INVOKE, INVOKE_ASYNC, STREAM])
def test_a_name_has_one_to_256_characters(path: str, name: str, constraint: str) -> None:
    assert text_of(path.format(name)) == (
        f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: {constraint}"
    )


MEMBERS = [
    ("x-amz-invocation-type", "Sometimes", "invocationType", "enum value set: [Event, RequestResponse, DryRun]"),
    ("x-amz-invocation-type", "event", "invocationType", "enum value set: [Event, RequestResponse, DryRun]"),
    ("x-amz-invocation-type", "", "invocationType", "enum value set: [Event, RequestResponse, DryRun]"),
    ("x-amz-log-type", "tail", "logType", "enum value set: [None, Tail]"),
    ("x-amz-tenant-id", "a#b", "tenantId", r"regular expression pattern: [a-zA-Z0-9\._:\/=+\-@ ]+"),
    ("x-amz-durable-execution-name", "a.b", "durableExecutionName", "regular expression pattern: [a-zA-Z0-9-_]+"),
]


@pytest.mark.parametrize(("header", "value", "member", "constraint"), MEMBERS)
def test_a_bad_header_is_told_as_the_member_it_binds(header: str, value: str, member: str, constraint: str) -> None:
    text = text_of(INVOKE.format("checkout"), headers={header: value})
    first = f"Value '{value}' at '{member}' failed to satisfy constraint: Member must satisfy {constraint}"
    assert text == f"1 validation error detected: {first}"


@pytest.mark.parametrize(
    ("header", "member", "longest"),
    [
        ("x-amz-tenant-id", "tenantId", 256),
        ("x-amz-durable-execution-name", "durableExecutionName", 64),
    ],
)
def test_a_header_has_its_greatest_length(header: str, member: str, longest: int) -> None:
    assert isinstance(parse(INVOKE.format("checkout"), headers={header: "a" * longest}), Invocation)
    text = text_of(INVOKE.format("checkout"), headers={header: "a" * (longest + 1)})
    assert text.endswith(
        f"at '{member}' failed to satisfy constraint: Member must have length less than or equal to {longest}"
    )


def encode_context(text: str | bytes) -> str:
    return b64encode(text.encode() if isinstance(text, str) else text).decode()


CONTEXTS = [
    "",
    "{}",
    ' \n{"custom": {"a": 1}}\r\n',
    '{"a": "\\ud800"}',
    '{"a": "ä"}',
    '{"a": ' + "[" * 900 + "]" * 900 + "}",
]
NO_CONTEXTS = {
    "no base64": "string!",
    "base64 of no JSON": "string",
    "JSON itself": '{"a": 1}',
    "without padding": encode_context("{}").rstrip("="),
    "too much padding": encode_context("{}") + "=",
    "padding within": "e30=e30=",
    "the alphabet of URLs": encode_context('{"a": "ÿ?ÿ>"}').replace("/", "_").replace("+", "-"),
    "a line end": encode_context('{"a": 1}')[:4] + "\n" + encode_context('{"a": 1}')[4:],
    "a blank": encode_context("{}") + " ",
    "padding alone": "====",
    "no object": encode_context("[]"),
    "a string": encode_context('"{}"'),
    "a number": encode_context("1"),
    "null": encode_context("null"),
    "nothing but blanks": encode_context("  "),
    "two objects": encode_context("{}{}"),
    "half an object": encode_context('{"a": '),
    "no UTF-8": encode_context(b'{"a": "\xff"}'),
    "a byte order mark": encode_context(b"\xef\xbb\xbf{}"),
    "UTF-16": encode_context("{}".encode("utf-16")),
    "no ASCII": "ÿ",
}


@pytest.mark.parametrize("text", CONTEXTS)
@pytest.mark.parametrize("path", [INVOKE, STREAM])
def test_a_client_context_is_an_object(path: str, text: str) -> None:
    """Or empty, which is none."""
    headers = {"x-amz-client-context": encode_context(text)}
    assert isinstance(parse(path.format("checkout"), headers=headers), Invocation)


@pytest.mark.parametrize("value", NO_CONTEXTS.values(), ids=NO_CONTEXTS)
@pytest.mark.parametrize("type_", InvocationType)
def test_any_other_client_context_is_refused_as_on_aws(type_: InvocationType, value: str) -> None:
    """Events, too, though their functions do not see it."""
    headers = {"x-amz-client-context": value, "x-amz-invocation-type": type_}
    found = parse(INVOKE.format("checkout"), headers=headers)
    assert isinstance(found, BadTarget)
    rendered = render(found.refusal, **found.values)
    assert (rendered.status, dict(rendered.headers)[b"x-amzn-errortype"]) == (400, b"InvalidRequestContentException")
    assert json.loads(rendered.body) == {
        "Type": "User",
        "message": "Client context must be a valid Base64-encoded JSON object.",
    }


def test_the_old_operation_has_no_client_context() -> None:
    headers = {"x-amz-client-context": "string"}
    assert isinstance(parse(INVOKE_ASYNC.format("checkout"), headers=headers), Invocation)


def test_a_client_context_has_its_greatest_length() -> None:
    value = encode_context('{"a": "' + "a" * 2675 + '"}')
    assert len(value) == 3580
    assert isinstance(parse(INVOKE.format("checkout"), headers={"x-amz-client-context": value}), Invocation)
    assert text_of(INVOKE.format("checkout"), headers={"x-amz-client-context": "a" * 3584}).endswith(
        "at 'clientContext' failed to satisfy constraint: Member must have length less than or equal to 3583"
    )


@pytest.mark.parametrize(
    ("qualifier", "constraint"),
    [
        ("q" * 129, "Member must have length less than or equal to 128"),
        ("", "Member must have length greater than or equal to 1"),
        ("a.b", r"Member must satisfy regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"),
    ],
)
def test_a_qualifier_in_the_query_is_checked(qualifier: str, constraint: str) -> None:
    assert text_of(INVOKE.format("checkout"), f"Qualifier={qualifier}") == (
        f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: {constraint}"
    )
    assert isinstance(parse(INVOKE.format("checkout"), f"Qualifier={'q' * 128}"), Invocation)


def test_the_streaming_operation_knows_no_events_and_no_durable_name() -> None:
    assert "enum value set: [RequestResponse, DryRun]" in (
        text_of(STREAM.format("checkout"), headers={"x-amz-invocation-type": "Event"})
    )
    durable = {"x-amz-durable-execution-name": "a.b"}
    assert isinstance(parse(STREAM.format("checkout"), headers=durable), Invocation)


def test_all_mistakes_are_told_in_one_message() -> None:
    headers = {header: value for header, value, _, _ in MEMBERS}
    text = text_of(INVOKE.format("no%20name"), f"Qualifier={'.' * 129}", headers)
    assert text.startswith("7 validation errors detected: Value 'no name' at 'functionName' ")
    assert re.findall(r"' at '(\w+)' failed to satisfy constraint: ", text) == [
        "functionName", "invocationType", "logType", "durableExecutionName", "qualifier", "qualifier", "tenantId",
    ]  # fmt: skip
    assert text.count("; ") == 6


def test_the_checks_have_an_order() -> None:
    """Constraints before the qualifiers' agreement, that before the Region."""
    abroad = "arn:aws:lambda:eu-west-1:111122223333:function:checkout:live"
    bad = {"x-amz-log-type": "x"}
    found = parse(INVOKE.format(abroad), "Qualifier=other", bad)
    assert isinstance(found, BadTarget)
    assert found.refusal is Refusal.VALIDATION
    found = parse(INVOKE.format(abroad), "Qualifier=other")
    assert isinstance(found, BadTarget)
    assert found.refusal is Refusal.QUALIFIER_CONFLICT
    found = parse(INVOKE.format(abroad), "Qualifier=live")
    assert isinstance(found, BadTarget)
    assert found.refusal is Refusal.WRONG_REGION


# ---- anything at all ------------------------------------------------------------------------------------------

names = st.from_regex(r"[a-zA-Z0-9_.-]{1,64}", fullmatch=True)
qualifiers = st.from_regex(r"\$LATEST|[a-zA-Z0-9_-]{1,64}", fullmatch=True)
paths = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [b"/", b"functions", b"invocations", b"2015-03-31", b"%2f", b"%", b"..", b"a:b", b"\xff", b"%ff"]
        ),
        max_size=12,
    ).map(b"".join),
    st.binary(max_size=60).map(lambda name: b"/2015-03-31/functions/" + name + b"/invocations"),
)
header_maps = st.dictionaries(st.sampled_from(sorted(READ_HEADERS)), st.binary(max_size=80), max_size=5)


@given(paths, st.binary(max_size=80), header_maps)
@example(b"/2015-03-31/functions/%/invocations", b"Qualifier=%&%=&&==", {})
@example(b"/2015-03-31/functions/%ff/invocations", b"Qualifier=%ff", {b"x-amz-invocation-type": b"\xff"})
def test_no_bytes_are_too_strange(path: bytes, query: bytes, headers: dict[bytes, bytes]) -> None:
    """Every request is an invocation, a refusal that can be rendered, or neither; and nothing is raised."""
    found = parse_target(path, query, headers, REGION)
    if isinstance(found, BadTarget):
        assert render(found.refusal, **found.values).body
    elif found is not None:
        assert re.fullmatch(r"[a-zA-Z0-9_.-]{1,256}", found.function.name)


@given(
    names,
    st.none() | qualifiers,
    st.none() | st.from_regex(r"\d{12}", fullmatch=True).filter(str.isascii),
    st.sampled_from([INVOKE, INVOKE_ASYNC, STREAM]),
    st.booleans(),
)
def test_a_valid_name_is_parsed_into_what_it_was_made_of(
    name: str, qualifier: str | None, account: str | None, path: str, is_encoded: bool
) -> None:
    """However it is written."""
    text = f"arn:aws:lambda:{REGION}:{account}:function:{name}" if account else f"function:{name}"
    text = f"{text}:{qualifier}" if qualifier else text
    found = function_of(path.format(quote(text, safe="") if is_encoded else text))
    assert found == Function(name, qualifier, account, REGION if account else None)


def test_a_long_path_is_looked_at_in_no_time() -> None:
    """A path of 64 KiB made to make a pattern try everything would hold up every other request for seconds."""
    began = process_time()
    for piece in ("/functions", "/functions/invocations", "/invocations", "a/", "%2f", "/functions/a"):
        parse(f"/x/functions{piece * (60_000 // len(piece))}")
        parse(INVOKE.format("aws:" * 15_000))
        parse(f"/x/functions/{'a-1:' * 15_000}/invocations")
    assert process_time() - began < 1
