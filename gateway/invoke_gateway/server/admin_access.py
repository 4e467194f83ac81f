"""Puts the admin token of the settings in force, at the start and at each reload."""

from __future__ import annotations

import logging
from ipaddress import ip_address
from secrets import token_hex

from ..admin.access import AccessRules, AdminAccess
from ..secret_source import FORMS, SecretUnavailable, read_token
from ..settings import Address, Settings

log = logging.getLogger("invoke_gateway")


def warn_of_no_token(settings: Settings, addresses: list[Address]) -> None:
    """Logs a warning where the listener can be reached from other machines, and there is no token."""
    if settings.admin_token is None and not is_on_loopback(addresses):
        log.warning(
            "admin is %s, which is not on loopback, and admin_token is not set: everybody who reaches the listener may "
            "read from it, and every change is refused. Set admin_token to %s, or bind admin to 127.0.0.1",
            *(settings.admin, FORMS),
            extra={"fields": {"kind": "admin_without_token", "url": f"http://{settings.admin}"}},
        )


def make_access(settings: Settings, addresses: list[Address]) -> AdminAccess:
    """Makes the access rules of an admin listener that is bound to `addresses`.

    If the token cannot be read any more, although the settings were checked, no token fits.
    """
    rules = _read_rules(settings) or AccessRules(token_hex(), reads_need_token=True)
    return AdminAccess(rules, is_loopback=is_on_loopback(addresses))


def put_in_force(access: AdminAccess, settings: Settings) -> None:
    """Replaces the rules. The old ones stay in force where the token cannot be read."""
    rules = _read_rules(settings)
    if rules is None:
        return
    if rules.token != access.rules.token:
        log.info("the admin token was %s", "removed" if rules.token is None else "replaced")
    access.rules = rules


def _read_rules(settings: Settings) -> AccessRules | None:
    try:
        token = None if settings.admin_token is None else read_token(settings.admin_token)
    except SecretUnavailable as error:  # it was read a moment ago, when the settings were checked
        log.error("the admin token cannot be read, and what was in force stays in force: %s", error)
        return None
    return AccessRules(token, reads_need_token=settings.admin_reads == "token")


def is_on_loopback(addresses: list[Address]) -> bool:
    """Returns whether a listener can be reached from this machine only."""
    return all(_is_loopback(address.host) for address in addresses)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
