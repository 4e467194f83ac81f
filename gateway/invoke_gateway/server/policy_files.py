"""Finds changes in the files of policies, which the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..settings import Settings
from ..settings.models.policies import PolicyText


class PolicyFiles:
    """Compares the files of the settings that were read last with what is in the files now."""

    def __init__(self, settings: Settings) -> None:
        self._seen: dict[str, bytes] = {}
        self.follow(settings)

    def follow(self, settings: Settings) -> None:
        """Watches the files that these settings name."""
        self._texts = {policy.file: policy.text for policy in _list_policies(settings) if policy.file}
        self._seen = {}

    def have_changed(self) -> bool:
        """Returns whether a file has other bytes than at the last look. A file that is just being replaced has not."""
        has_changed = False
        for name, text in self._texts.items():
            try:
                data = Path(name).read_bytes()
            except OSError:
                continue
            before = self._seen.get(name)
            if data != before:
                self._seen[name] = data
                has_changed |= before is not None or data.decode("utf-8-sig", "replace") != text
        return has_changed


def _list_policies(settings: Settings) -> Iterator[PolicyText]:
    for caller in settings.callers.values():
        yield from caller.policies
    if settings.signatures != "verify":  # the functions are perhaps a million
        return
    for account in settings.accounts.values():
        for function in account.functions.values():
            if function.resource_policy is not None:
                yield function.resource_policy
