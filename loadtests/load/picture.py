"""Draws one run: above, the calls in flight against the ceilings; below, the refusals by reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from loadtests.load.outcome import Outcome, Sample
from loadtests.load.table import describe_verdict

# Okabe and Ito's colours, which people who see colours differently can tell apart too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_ACCOUNT, _GOOD, _BAD = "#888888", "#1a7f37", "#c62828"
_BIN_SECONDS = 0.25
_STYLE = {"svg.fonttype": "none", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}


def draw(outcome: Outcome, question: str, folder: Path) -> list[Path]:
    """Writes `<scenario>.svg` and `.png` into `folder`. Returns their paths, or none without samples."""
    if len(outcome.samples) < 2:
        return []
    with pyplot.rc_context(_STYLE):
        figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(10, 6.2), height_ratios=(3, 2))
        _draw_in_flight(above, outcome)
        _draw_rates(below, outcome.samples)
        verdict = describe_verdict(outcome)
        colour = _GOOD if outcome.is_good else _BAD
        word = "held" if outcome.is_good else "BROKEN"
        figure.suptitle(f"{outcome.scenario}: {word} – {verdict}", x=0.01, ha="left", weight="bold", color=colour)
        above.set_title(question, loc="left", fontsize=10, color="#444444")
        figure.tight_layout()
        paths = [folder / f"{outcome.scenario}.{kind}" for kind in ("svg", "png")]
        for path in paths:
            figure.savefig(path, dpi=100, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(figure)
    return paths


def per_second(
    seconds: Sequence[float], totals: Sequence[int], width: float = _BIN_SECONDS
) -> tuple[list[float], list[float]]:
    """Returns the middles of bins `width` seconds wide, and the growth per second of a running total in each."""
    middles, rates = [], []
    start = 0
    for index in range(1, len(seconds)):
        passed = seconds[index] - seconds[start]
        if passed >= width or index == len(seconds) - 1:
            if passed > 0:
                middles.append((seconds[index] + seconds[start]) / 2)
                rates.append((totals[index] - totals[start]) / passed)
            start = index
    return middles, rates


def _draw_in_flight(axes: Axes, outcome: Outcome) -> None:
    seconds = [sample.seconds for sample in outcome.samples]
    ceilings = dict(outcome.ceilings)
    account = ceilings.pop("account", None)
    names = {name: None for sample in outcome.samples for name in sample.in_flight} | dict.fromkeys(ceilings)
    names.pop("account", None)
    others = [name for name in names if name not in ceilings]
    if len(others) == 1 or len(ceilings) == 1:  # then the pool's line is the same, or there is nobody to compare with
        others = []
    for name, colour in zip([*ceilings, *others], _COLOURS * 4, strict=False):
        counts = [sample.in_flight.get(name, 0) for sample in outcome.samples]
        ceiling = ceilings.get(name)
        label = f"{name}: {max(counts)}" + (f" of {ceiling}" if ceiling is not None else "")
        axes.plot(
            seconds, counts, color=colour, drawstyle="steps-post", label=label, lw=1.6 if name in ceilings else 0.9
        )
        if ceiling is not None:
            axes.fill_between(seconds, counts, step="post", color=colour, alpha=0.22, linewidth=0)
            axes.axhline(ceiling, color=colour, linestyle="--", lw=1.3)
    if account is not None:
        counts = [sample.in_flight.get("account", 0) for sample in outcome.samples]
        label = f"account: {max(counts)} of {account}"
        axes.plot(seconds, counts, color=_ACCOUNT, drawstyle="steps-post", lw=0.8, label=label, zorder=1)
        axes.axhline(account, color=_ACCOUNT, linestyle="--", lw=1.3)
    if outcome.marks:
        users = [sample.users for sample in outcome.samples]
        axes.plot(seconds, users, color="black", linestyle=":", lw=1.2, label=f"users: {max(users)}")
    for text, moment in outcome.marks.items():
        axes.axvline(moment, color=_BAD, lw=1.2)
        axes.text(moment, 1, f" {text}", color=_BAD, va="top", transform=axes.get_xaxis_transform())
    axes.set_ylim(0, None)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0)
    axes.set_ylabel("calls in flight\n(dashed: ceiling)")
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, title="highest of ceiling", alignment="left"
    )


def _draw_rates(axes: Axes, samples: Sequence[Sample]) -> None:
    seconds = [sample.seconds for sample in samples]
    reasons = sorted({reason for sample in samples for reason in sample.refused})
    stacks, middles = [], per_second(seconds, [0] * len(seconds))[0]
    for reason in reasons:
        stacks.append(per_second(seconds, [sample.refused.get(reason, 0) for sample in samples])[1])
    if stacks:
        colours = ("#D55E00", "#F0B27A", "#7D3C98", "#CC79A7", "#922B21")
        axes.stackplot(
            middles, stacks, labels=[_short(reason) for reason in reasons], colors=colours, alpha=0.85, step="mid", lw=0
        )
    admitted = per_second(seconds, [sample.admitted for sample in samples])[1]
    axes.plot(middles, admitted, color=_GOOD, drawstyle="steps-mid", lw=1.4, label="admitted")
    axes.set_ylim(0, None)
    axes.set_ylabel("calls per second\n(filled: refused)" if stacks else "calls per second\n(nothing was refused)")
    axes.set_xlabel("seconds")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, title="by reason", alignment="left")


def _short(reason: str) -> str:
    """Breaks a name into two lines, so that the legend leaves room for the picture."""
    words = reason.removesuffix("LimitExceeded")
    for middle in ("Function", "Concurrent"):
        before, found, after = words.partition(middle)
        if before and found:
            return f"{before}{found}\n{after}" if middle == "Function" else f"{before}\n{found}{after}"
    return words
