"""Decides questions about permissions by the settings alone, without a running gateway."""

from __future__ import annotations

from time import time
from typing import Any

from ..app.limits import NOTHING_SET
from ..app.permissions import make_permissions
from ..policy.permissions.question import SIGNATURES_OFF, AccessQuestion, BadQuestion, answer_question
from ..settings import Settings


def answer_by_settings(settings: Settings, question: AccessQuestion) -> dict[str, Any]:
    """Returns the decision as a document. Raises `BadQuestion`."""
    permissions = make_permissions(settings, NOTHING_SET)
    if permissions is None:
        raise BadQuestion(SIGNATURES_OFF)
    return answer_question(permissions, question, now=time(), is_secure=settings.tls is not None)
