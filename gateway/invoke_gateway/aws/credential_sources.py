"""Loads credentials: from the environment, or by botocore's chain of providers.

Loading blocks, for seconds where a service provides the credentials. botocore is an extra of the package (`aws`), and
imported at the first use.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from time import time
from typing import Any, Protocol

from ..policy.identity.request_signer import SigningCredentials

MISSING_EXTRA = "needs botocore, which is not installed: pip install botocore"

_PROFILE = "profile:"
_PRECISION_SECONDS = 2
_MOST_SECONDS = 1 << 30  # 34 years; credentials that are valid for longer do not expire


class CannotLoad(Exception):
    """Reports why no credentials can be had, with the action."""


class CredentialSource(Protocol):
    """Loads credentials, again and again."""

    def load(self) -> SigningCredentials:
        """Returns the credentials that are valid now. Blocks. Raises `CannotLoad`."""

    def forget(self) -> None:
        """Drops what was loaded: the credentials were refused. The next `load` reads them again."""


def make_source(name: str) -> CredentialSource:
    """Makes the source that `backend.sign.credentials` names: `default`, `env` or `profile:NAME`."""
    if name == "env":
        return EnvironmentCredentials(os.environ)
    return BotocoreCredentials(name.removeprefix(_PROFILE) if name.startswith(_PROFILE) else None)


def find_missing_extra(name: str) -> str | None:
    """Returns why the source cannot work here; None where it can."""
    return MISSING_EXTRA if name != "env" and importlib.util.find_spec("botocore") is None else None


class EnvironmentCredentials:
    """Reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. Needs no library."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def load(self) -> SigningCredentials:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            if not self._environ.get(name):
                raise CannotLoad(f"the environment has no {name}. Set it, or set backend.sign.credentials to default")
        token = self._environ.get("AWS_SESSION_TOKEN") or None
        return SigningCredentials(self._environ["AWS_ACCESS_KEY_ID"], self._environ["AWS_SECRET_ACCESS_KEY"], token)

    def forget(self) -> None:
        """Does nothing: the environment of a process does not change."""


class BotocoreCredentials:
    """Uses botocore's chain: environment, profiles, SSO, processes, web identities, containers, instances.

    botocore renews credentials that expire. Credentials in files do not expire, so the files are read again when they
    have changed.

    profile: the profile; None: the default one
    """

    def __init__(self, profile: str | None = None) -> None:
        self._profile = profile
        self._credentials: Any = None
        self._expires_at: float | None = None
        self._files: list[str] = []
        self._read: list[tuple[str, int, int]] = []

    def load(self) -> SigningCredentials:
        try:
            from botocore.exceptions import BotoCoreError
        except ImportError as error:
            raise CannotLoad(f"it {MISSING_EXTRA}") from error
        try:
            if self._credentials is None or self._read != list(_describe_files(self._files)):
                self._credentials = self._find()
            frozen = self._credentials.get_frozen_credentials()
        except (BotoCoreError, OSError, RuntimeError, ValueError) as error:  # RuntimeError: renewed, and still expired
            raise CannotLoad(f"botocore cannot load credentials: {error}") from error
        if not frozen.access_key or not frozen.secret_key:
            raise CannotLoad("botocore found credentials without a key. Correct the profile, or the provider")
        expires_at = _find_expiry(self._credentials)
        if expires_at is None or self._expires_at is None or abs(expires_at - self._expires_at) > _PRECISION_SECONDS:
            self._expires_at = expires_at  # else the same credentials would differ by parts of a second
        return SigningCredentials(frozen.access_key, frozen.secret_key, frozen.token or None, self._expires_at)

    def forget(self) -> None:
        self._credentials = None

    def _find(self) -> Any:
        from botocore.session import Session

        session = Session(profile=self._profile)
        names = (session.get_config_variable(name) for name in ("credentials_file", "config_file"))
        self._files = [os.path.expanduser(name) for name in names if name]
        self._read = list(_describe_files(self._files))
        found = session.get_credentials()
        if found is None:
            where = f"profile {self._profile}" if self._profile is not None else "chain of providers"
            raise CannotLoad(f"botocore finds none in its {where}. Give the gateway a role, a profile or keys")
        return found


def _find_expiry(credentials: Any) -> float | None:
    """Returns the end of the credentials, to the second; None: they do not expire.

    botocore has no public attribute for it. `refresh_needed` compares the rest of the time with a number of seconds, so
    the rest is found by halving.
    """
    is_shorter = getattr(credentials, "refresh_needed", None)
    if is_shorter is None or not is_shorter(_MOST_SECONDS):
        return None
    now = time()
    least, most = -_MOST_SECONDS, _MOST_SECONDS
    while most - least > 1:
        middle = (least + most) // 2
        if is_shorter(middle):
            most = middle
        else:
            least = middle
    return now + least


def _describe_files(files: list[str]) -> Iterator[tuple[str, int, int]]:
    for name in files:
        try:
            found = os.stat(name)
        except OSError:
            continue
        yield name, found.st_mtime_ns, found.st_size
