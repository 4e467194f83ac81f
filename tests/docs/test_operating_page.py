"""What docs/guides/operating.md says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from invoke_gateway.admin.problems import ADVICE

TEXT = (Path(__file__).parents[2] / "docs" / "guides" / "operating.md").read_text()


def test_it_has_every_cause_and_no_other() -> None:
    table = TEXT.partition("| Cause |")[2].partition("\n\n")[0]
    causes = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert causes == list(ADVICE)
