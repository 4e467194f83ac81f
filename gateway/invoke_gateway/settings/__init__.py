"""Reads all settings: `load` merges their sources into one frozen object, and reports all mistakes at once."""

from invoke_gateway.settings.account_models import Account, FunctionSettings
from invoke_gateway.settings.address import Address
from invoke_gateway.settings.file import SettingsText
from invoke_gateway.settings.load import RELOADABLE, json_schema, load, restart_needed
from invoke_gateway.settings.merge import Override
from invoke_gateway.settings.models import Settings
from invoke_gateway.settings.problems import Finding, Problem, SettingsError
from invoke_gateway.settings.section_models import Backend, Quotas, Retry, Tls

__all__ = [
    "RELOADABLE",
    "Account",
    "Address",
    "Backend",
    "Finding",
    "FunctionSettings",
    "Override",
    "Problem",
    "Quotas",
    "Retry",
    "Settings",
    "SettingsError",
    "SettingsText",
    "Tls",
    "json_schema",
    "load",
    "restart_needed",
]
