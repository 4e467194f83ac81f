"""`python -m tests.grafana` prints what a real Prometheus says to every expression of the dashboards and the rules."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.support.tools import PROMETHEUS

from .answers import ask, list_expressions, summarize, watched


def main() -> int:
    if PROMETHEUS.find() is None:
        print(PROMETHEUS, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, watched(Path(folder)) as server:
        answers = [ask(server, expression) for expression in list_expressions()]
    table = Table("file", "panel, variable or rule", "series", "expression or error")
    for answer in answers:
        expression = answer.expression
        table.add_row(expression.source, expression.title, str(answer.series), answer.error or expression.text)
    Console(width=None if sys.stdout.isatty() else 220, markup=False).print(table)
    print(summarize(answers))
    return 0 if all(answer.series for answer in answers) else 1


if __name__ == "__main__":
    sys.exit(main())
