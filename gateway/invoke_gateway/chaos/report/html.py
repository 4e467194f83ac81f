"""Writes the verdict as one HTML file: no script, no outside request, dark and light."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from ..calls import CallEnding
from .calls import list_timelines
from .overlap import draw
from .tables import examples_table, faults_table, limits_table, violations_table
from .verdict import CallsResult, CallsVerdict, SeedsVerdict

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#59636e;--page:#fff;--card:#f6f8fa;--line:#d1d9e0;--good:#1a7f37;
--bad:#cf222e;--area:#54aeff;--limit:#cf222e}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--dim:#9198a1;--page:#0d1117;--card:#151b23;--line:#3d444d;
--good:#3fb950;--bad:#f85149;--area:#388bfd;--limit:#f85149}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:2rem 1rem 4rem;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2.5rem 0 .5rem}
p{margin:.5rem 0}.dim,figcaption{color:var(--dim);font-size:.875rem}
.verdict{border-left:.5rem solid var(--good);background:var(--card);padding:1rem 1.25rem}
.verdict.bad{border-color:var(--bad)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .75rem .3rem 0;text-align:left;border-bottom:1px solid var(--line)}
th{color:var(--dim);font-weight:600;font-size:.875rem}.n{text-align:right}
.good{color:var(--good)}.bad td,.n.bad{color:var(--bad);font-weight:600}
code{font-size:.875em;overflow-wrap:anywhere}figure{margin:.75rem 0}svg{display:block;width:100%;height:auto}
details{border-top:1px solid var(--line);padding:.75rem 0}summary{cursor:pointer}
"""


def render_page(
    verdict: SeedsVerdict[Any],
    command: str,
    before: Sequence[str] = (),
    between: Sequence[str] = (),
    after: Sequence[str] = (),
) -> str:
    """Returns the page of a verdict that `command` made, with these sections around those that each verdict has."""
    notes = "".join(f"<p>{escape(note)}</p>" for note in verdict.notes)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{verdict.headline} · invoke-gateway prove</title>",
        f"<style>{STYLE}</style></head><body>",
        f'<div class="verdict{"" if verdict.holds else " bad"}"><h1>{verdict.headline}</h1>',
        f"<p>{escape(verdict.sentence)}</p>{notes}",
        f"<p class=dim>Judged: {escape(verdict.target)}, by <code>{escape(command)}</code></p></div>",
        *before,
        "<h2>Limits</h2>",
        "<p class=dim>The highest number of calls that truly ran at once, as the backend counted them.</p>",
        limits_table(verdict).as_html(),
        *between,
        "<h2>What must not happen</h2>",
        violations_table(verdict).as_html(),
        "<h2>Examples</h2>" + examples_table(verdict).as_html() if verdict.examples else "",
        *after,
        "</body></html>\n",
    ]
    return "\n".join(parts)


def render(verdict: CallsVerdict, command: str) -> str:
    """Returns the page of a verdict on calls."""
    faults = [(result.seed, fault) for result in verdict.results for fault in result.faults]
    is_open = len(verdict.results) == 1
    return render_page(
        verdict,
        command,
        between=["<h2>Faults</h2>", faults_table(faults).as_html()] if faults else [],
        after=[
            "<h2>Seeds</h2>",
            "<p class=dim>Blue: calls that truly ran at once. Red line: the limit. Blue above red is an overshoot.</p>",
            *[_seed(result, is_open=is_open or bool(result.violations)) for result in verdict.results],
        ],
    )


def _seed(result: CallsResult, *, is_open: bool) -> str:
    wrong = sum(result.violations.counts.values())
    seen = f"<b class=bad>{wrong} wrong</b>" if wrong else "<span class=good>nothing wrong</span>"
    figures = "".join(
        f"<figure><figcaption>{escape(peak.account)} · {escape(peak.name)}: at most {peak.highest} of {peak.ceiling} "
        f"at once</figcaption>{draw(series, peak.ceiling, result.seconds, result.phases)}</figure>"
        for peak, series in zip(result.peaks, result.series, strict=True)
    )
    answers = ", ".join(f"{count} × {escape(kind)}" for kind, count in result.answers.most_common())
    backend = ", ".join(
        f"{result.endings[ending]} × {ending}"
        for ending in CallEnding
        if result.endings[ending] and ending is not CallEnding.WAITS
    )
    timelines = "".join(table.as_html() for table in list_timelines([(result.seed, fault) for fault in result.faults]))
    return (
        f"<details{' open' if is_open else ''}><summary>Seed {result.seed}: {result.calls} calls in "
        f"{result.seconds:.1f} s, {seen}</summary>"
        f"<p class=dim>Clients got: {answers}.</p><p class=dim>The backend did: {backend}.</p>"
        f"{figures}{timelines}</details>"
    )
