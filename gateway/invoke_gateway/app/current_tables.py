"""Keeps the tables in force, and returns the part of them that a stage reads."""

from __future__ import annotations

from ..policy.limits import Limits
from ..policy.payloads.payload import PayloadQuotas
from ..policy.permissions.permissions import Permissions
from ..upstream.forward import ResponseQuotas
from .limits import Tables


class CurrentTables:
    """Returns parts of `tables`, which are replaced as a whole. Each method is handed to those that read its part."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def all(self) -> Tables:
        return self.tables

    def limits(self) -> Limits:
        return self.tables.limits

    def payload_quotas(self) -> PayloadQuotas:
        return self.tables.payload_quotas

    def response_quotas(self) -> ResponseQuotas:
        return self.tables.response_quotas

    def permissions(self) -> Permissions | None:
        return self.tables.permissions
