"""The verdict as one HTML file that a person understands: no script, no outside request, dark and light."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from .affected import FaultRow
from .calls import CallEnding
from .overlap import draw
from .timeline import FAILED, FAILED_BY_BACKEND, UNANSWERED, Second
from .verdict import SeedResult, Verdict

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


def write_report(path: Path, verdict: Verdict, command: str) -> None:
    """Write the report. Raises OSError. `command` made it."""
    path.write_text(render(verdict, command), encoding="utf-8")


def render(verdict: Verdict, command: str) -> str:
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{verdict.headline} · invoke-gateway prove</title>",
        f"<style>{STYLE}</style></head><body>",
        _head(verdict, command),
        "<h2>Limits</h2>",
        "<p class=dim>The highest number of calls that truly ran at once, as the backend counted them.</p>",
        _limits(verdict),
        _faults(verdict),
        "<h2>What must not happen</h2>",
        _violations(verdict),
        _examples(verdict),
        "<h2>Seeds</h2>",
        "<p class=dim>Blue: calls that truly ran at once. Red line: the limit. Blue above red is an overshoot.</p>",
        *[_seed(result, is_open=len(verdict.results) == 1 or bool(result.violations)) for result in verdict.results],
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _head(verdict: Verdict, command: str) -> str:
    notes = "".join(f"<p>{escape(record)}</p>" for record in verdict.notes)
    return (
        f'<div class="verdict{"" if verdict.holds else " bad"}">'
        f"<h1>{verdict.headline}</h1>"
        f"<p>{escape(verdict.sentence)}</p>{notes}"
        f"<p class=dim>Judged: {escape(verdict.target)}, by <code>{escape(command)}</code></p></div>"
    )


def _limits(verdict: Verdict) -> str:
    rows = [
        f"<tr{' class=bad' if peak.overshoot else ''}><td>{escape(peak.account)}<td>{escape(peak.name)}"
        f"<td class=n>{peak.ceiling}<td class=n>{peak.highest}<td class=n>{peak.overshoot}"
        + (f"<td class=n>{peak.highest_with_lost}" if verdict.is_shared else "")
        for peak in verdict.peaks
    ]
    with_lost = ("*with calls of lost gateways",) if verdict.is_shared else ()
    return html_table(("account", "limit", "*ceiling", "*highest true overlap", "*overshoot", *with_lost), rows)


def _faults(verdict: Verdict) -> str:
    """Every blow, where gateways were struck."""
    rows = [row for result in verdict.results for fault in result.faults for row in _fault(result.seed, fault)]
    if not rows:
        return ""
    headings = ("blow", "*seed", "*at", "*lasted", "*overshoot", "*refused while slots were free")
    return "<h2>Blows</h2>" + html_table(
        (*headings, "*failed", "*no answer", "what healed", "*after", "*promised"), rows
    )


def _fault(seed: int, fault: FaultRow) -> Iterator[str]:
    counts = (fault.overshoot, fault.refused_while_free, fault.failed, fault.unanswered)
    cells = (
        f"<td>{escape(fault.name)}<td class=n>{seed}<td class=n>{fault.at:.1f} s<td class=n>{fault.duration}"
        + "".join(f"<td class=n>{count}" for count in counts)
    )
    for recovery in fault.recoveries:
        is_bad = fault.overshoot or not recovery.within_deadline
        name = recovery.name.removeprefix(fault.name).strip(": ")
        yield (
            f"<tr{' class=bad' if is_bad else ''}>{cells}<td>{escape(name)}"
            f"<td class=n>{recovery.took}<td class=n>{recovery.deadline:g} s"
        )
        cells = "<td>" * 8
    if not fault.recoveries:
        yield f"<tr{' class=bad' if fault.overshoot else ''}>{cells}<td><td><td>"


def _timelines(result: SeedResult) -> str:
    """The seconds of the blows that were recorded."""
    return "".join(
        f"<h3>{escape(fault.name)}, seed {result.seed}, second by second</h3>{_seconds(fault.timeline)}"
        for fault in result.faults
        if fault.timeline
    )


def _seconds(seconds: list[Second]) -> str:
    reasons = sorted({reason for second in seconds for reason in second.refusals})
    refused = [f"*429 {reason}" for reason in reasons]
    kinds = (FAILED, FAILED_BY_BACKEND, UNANSWERED)
    counted = ("*truly in flight", "*of it by the struck", "*by the store", "*by the gateways")
    rows = []
    for second in seconds:
        numbers = [second.admitted, *(second.answers[kind] for kind in (*reasons, *kinds))]
        cells = [*numbers, "{} to {}".format(*second.running), second.affected]
        cells += ["" if count is None else count for count in (second.store, second.gateways)]
        marks = "<br>".join(map(escape, second.marks))
        rows.append(f"<tr><td class=n>{second.at}" + "".join(f"<td class=n>{cell}" for cell in cells) + f"<td>{marks}")
    headings = ("*second", "*admitted", *map(escape, refused), *(f"*{kind}" for kind in kinds), *counted, "what")
    return html_table(headings, rows)


def _violations(verdict: Verdict) -> str:
    rows = [
        f"<tr{' class=bad' if count else ''}><td>{escape(violation.value)}<td class=n>{count}"
        f"<td>{'' if count else '<span class=good>none</span>'}"
        for violation, count in verdict.counts.items()
    ]
    return html_table(("", "*seen", ""), rows)


def _examples(verdict: Verdict) -> str:
    if not verdict.examples:
        return ""
    rows = [
        f"<tr><td class=n>{seed}<td>{escape(violation.value)}<td><code>{escape(text)}</code>"
        for seed, violation, text in verdict.examples
    ]
    return "<h2>Examples</h2>" + html_table(("*seed", "what", "which"), rows)


def _seed(result: SeedResult, *, is_open: bool) -> str:
    wrong = sum(result.violations.counts.values())
    said = f"<b class=bad>{wrong} wrong</b>" if wrong else "<span class=good>nothing wrong</span>"
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
    return (
        f"<details{' open' if is_open else ''}><summary>Seed {result.seed}: {result.calls} calls in "
        f"{result.seconds:.1f} s, {said}</summary>"
        f"<p class=dim>Clients got: {answers}.</p><p class=dim>The backend did: {backend}.</p>"
        f"{figures}{_timelines(result)}</details>"
    )


def html_table(headings: tuple[str, ...], rows: list[str]) -> str:
    head = "".join(f"<th{' class=n' if name.startswith('*') else ''}>{name.lstrip('*')}" for name in headings)
    return f"<div class=scroll><table><tr>{head}{''.join(rows)}</table></div>"
