"""Draws one limit over time: how many ran at once, and the limit."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT, TOP, BOTTOM = 960, 96, 14, 14
COLUMNS = 480
LETTER = 6  # width of one in a phase's name


def highest_in_columns(series: Sequence[tuple[float, int]], seconds: float, columns: int = COLUMNS) -> list[int]:
    """Returns the greatest value in each of `columns` equal parts of the time. A short peak is never lost."""
    highest = [0] * columns
    value, last = 0, 0
    for at, next_value in series:
        column = min(columns - 1, max(last, int(at / seconds * columns) if seconds > 0 else 0))
        for between in range(last, column + 1):
            highest[between] = max(highest[between], value)
        highest[column] = max(highest[column], next_value)
        value, last = next_value, column
    for after in range(last, columns):
        highest[after] = max(highest[after], value)
    return highest


def draw(series: Sequence[tuple[float, int]], ceiling: int, seconds: float, phases: Sequence[tuple[str, float]]) -> str:
    """Returns an SVG element: the overlap as an area, the limit as a dashed line, the phases by name."""
    highest = highest_in_columns(series, seconds)
    top = max(1, ceiling, *highest) * 1.1
    step = WIDTH / COLUMNS

    def y(value: float) -> str:
        return f"{TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top):.1f}"

    points = "".join(
        f"L{column * step:.1f} {y(value)}H{(column + 1) * step:.1f}" for column, value in enumerate(highest)
    )
    marks = _draw_marks(phases, seconds)
    small = 'font-size="11" fill="var(--dim)"'
    label = f"at most {max(highest)} at once, limit {ceiling}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'<path d="M0 {y(0)}{points}V{y(0)}Z" fill="var(--area)" fill-opacity=".55"/>{marks}'
        f'<path d="M0 {y(ceiling)}H{WIDTH}" stroke="var(--limit)" stroke-width="1.5" stroke-dasharray="6 4"/>'
        f'<text x="{WIDTH - 2}" y="{HEIGHT - 2}" text-anchor="end" {small}>{seconds:.0f} s</text>'
        f'<text x="2" y="{HEIGHT - 2}" {small}>0 s</text></svg>'
    )


def _draw_marks(phases: Sequence[tuple[str, float]], seconds: float) -> str:
    """Draws a line where each phase began, and its name where there is room."""
    starts = [at / seconds * WIDTH if seconds else 0.0 for _, at in phases]
    marks = []
    for (name, _), x, next_x in zip(phases, starts, [*starts[1:], WIDTH], strict=True):
        marks.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="var(--line)"/>')
        if next_x - x > LETTER * len(name):
            marks.append(f'<text x="{x + 3:.1f}" y="10" font-size="10" fill="var(--dim)">{name}</text>')
    return "".join(marks)
