"""Lists the errors of Lambda's control operations, with AWS's texts.

Texts without a note were recorded from AWS (LocalStack's validated snapshots of November 2025). `Type` is missing where
it was missing there. The last group has texts of the gateway's own, for what AWS has not.
"""

from __future__ import annotations

from ...refusals import ErrorAnswer, Rendered, render


class ControlRefusal:
    """Holds the reason why an operation is refused: the error, and the values of its text."""

    __slots__ = ("error", "values")

    def __init__(self, error: ErrorAnswer, **values: object) -> None:
        self.error = error
        self.values = values

    def render(self) -> Rendered:
        return render(self.error, **self.values)

    @property
    def text(self) -> str:
        return self.error.message.format(**self.values)

    def __repr__(self) -> str:
        return f"<ControlRefusal {self.error.code}: {self.text}>"


def _invalid(message: str, type_: str | None = "User") -> ErrorAnswer:
    return ErrorAnswer(400, "InvalidParameterValueException", message, "message", type_)


def _missing(message: str) -> ErrorAnswer:
    return ErrorAnswer(404, "ResourceNotFoundException", message, "Message")


def _conflict(message: str) -> ErrorAnswer:
    return ErrorAnswer(409, "ResourceConflictException", message)


FUNCTION_NOT_FOUND = _missing("Function not found: {arn}")
ALIAS_NOT_FOUND = _missing("Cannot find alias arn: {arn}")

QUALIFIED = _invalid(
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
    "Please specify either a function name or an unqualified function ARN."
)
BELOW_FLOOR = _invalid(
    "Specified ReservedConcurrentExecutions for function decreases account's "
    "UnreservedConcurrentExecution below its minimum value of [{floor}].",
    None,
)
BELOW_PROVISIONED = _invalid(
    " ReservedConcurrentExecutions  {slots} should not be lower than function's total provisioned concurrency "
    "[{provisioned}].",
    None,
)

PROVISIONED_ON_LATEST = _invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
NOT_PUBLISHED = _invalid("The function resource provided must be an alias or a published version.")
NO_PROVISIONED = ErrorAnswer(
    404,
    "ProvisionedConcurrencyConfigNotFoundException",
    "No Provisioned Concurrency Config found for this function",
)
ABOVE_RESERVATION = _invalid(
    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
)
ABOVE_UNRESERVED = _invalid(
    "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{unreserved}].",
    None,
)
PROVISIONED_BELOW_FLOOR = _invalid(
    "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum "
    "value of [{floor}].",
    None,
)
VERSION_IS_PROVISIONED = _conflict(
    "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
)
ALIAS_IS_PROVISIONED = _conflict("Version is pointed by a Provisioned Concurrency alias")
WEIGHTED_ALIAS = _invalid("Alias with weights can not be used with Provisioned Concurrency")

NOTHING_GIVEN = _invalid("You must specify at least one of error handling or destination setting.")
NO_SUCH_FUNCTION = _missing("The function doesn't exist.")
NO_EVENT_INVOKE = _missing("The function {arn} doesn't have an EventInvokeConfig")
OWN_DESTINATION = _invalid("You can't specify the function as a destination for itself.")
BAD_DESTINATION = _invalid("The destination ARN {arn} is invalid.")

POLICY_ON_LATEST = _invalid("We currently do not support adding policies for $LATEST.")
BAD_PRINCIPAL = _invalid("The provided principal was invalid. Please check the principal and try again.")
STATEMENT_EXISTS = _conflict(
    "The statement id ({statement}) provided already exists. Please provide a new statement id, or remove the existing "
    "statement."
)
NO_STATEMENT = _missing("Statement {statement} is not found in resource policy.")
NO_POLICY = _missing("No policy is associated with the given resource.")
POLICY_NOT_FOUND = _missing("The resource you requested does not exist.")
OTHER_REVISION = ErrorAnswer(
    412,
    "PreconditionFailedException",
    "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest "
    "Revision Id",
)
POLICY_TOO_LONG = ErrorAnswer(
    400, "PolicyLengthExceededException", "The final policy size ({size}) is bigger than the limit ({limit})."
)

# The gateway's own.
SET_ELSEWHERE = _conflict("{key} of {function} is set in {source}. Change it there.")
BAD_POLICY = _invalid("{text}")
UNREACHABLE_DESTINATION = _invalid("The gateway cannot deliver to the destination {arn}: {reason}.")
SCALING_BOUNDS = _invalid("MinExecutionEnvironments {least} is greater than MaxExecutionEnvironments {most}.")
NOT_KEPT = ErrorAnswer(500, "ServiceException", "The change is not stored. {text}", "Message", "Service")
CANNOT_CHECK = _invalid(
    "The backend cannot say whether {function} exists: it answered {operation} with status {status}. "
    "Start the gateway with control.check_existence: false if the backend has no such operation."
)
BODY_TOO_LARGE = ErrorAnswer(
    413, "RequestTooLargeException", "Request must be smaller than {limit} bytes for the {operation} operation"
)
