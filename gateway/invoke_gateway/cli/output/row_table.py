"""Makes tables that stay readable at 80 columns: no word is broken, and long texts stand below their row.

A terminal of 80 columns has no room for a reason of AWS or a request id beside the other columns. Where a table does
not fit, its columns marked `below` become lines below each row, and one column folds. Elsewhere it is a plain table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from invoke_gateway.cli.output.tables import make_table

_GAP = 2  # columns between two columns of a narrow table
_INDENT = 6  # columns before a line below a row
_LEAST = 10  # columns of the column that folds


@dataclass(frozen=True)
class Column:
    """Describes a column.

    below: in a narrow table its cells are lines below their row: `plain`, or `named` with the heading before the text
    folds: in a narrow table it has the rest of the width; one column of a table does
    """

    heading: str
    justify: Literal["left", "right"] = "left"
    below: Literal["no", "plain", "named"] = "no"
    folds: bool = False


class RowTable:
    """Renders rows of cells. Cells are text that is not read as markup; None is a line between groups of rows."""

    def __init__(self, *columns: Column, title: str | None = None, caption: Text | None = None) -> None:
        self._columns = columns
        self._rows: list[tuple[Text, ...] | None] = []
        self._title = title
        self._caption = caption

    def add_row(self, *cells: str | Text) -> None:
        """Adds a row; cells that are left out at its end are empty."""
        texts = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
        texts += [Text()] * (len(self._columns) - len(texts))
        self._rows.append(tuple(texts))

    def add_section(self) -> None:
        self._rows.append(None)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = self._make_wide()
        if console.measure(wide, options=options.update(max_width=100_000)).maximum <= options.max_width:
            yield wide
        else:
            yield from self._stack(console, options.max_width)

    def _make_wide(self) -> RenderableType:
        table = make_table(title=self._title, caption=self._caption, caption_justify="left")
        for column in self._columns:
            table.add_column(column.heading, justify=column.justify, overflow="fold")
        for row in self._rows:
            if row is None:
                table.add_section()
            else:
                table.add_row(*row)
        return table

    def _stack(self, console: Console, width: int) -> Iterator[RenderableType]:
        columns = [number for number, column in enumerate(self._columns) if column.below == "no"]
        widths = self._fit(columns, width)
        if self._title is not None:
            yield Text(self._title, style="italic")
        headings = [Text(self._columns[number].heading, style="bold") for number in columns]
        yield Text()
        yield from self._lay_out(console, columns, widths, headings)
        yield Text("─" * min(width, sum(widths) + _GAP * (len(widths) - 1)))
        for row in self._rows[:-1] if self._rows and self._rows[-1] is None else self._rows:
            if row is None:
                yield Text()
                continue
            yield from self._lay_out(console, columns, widths, [row[number] for number in columns])
            for column, cell in zip(self._columns, row, strict=True):
                if column.below != "no" and cell.plain:
                    named = Text(f"{column.heading}: ").append(cell) if column.below == "named" else cell
                    yield Padding(named, (0, 0, 0, _INDENT), expand=False)
        yield Text()
        if self._caption is not None:
            yield self._caption

    def _fit(self, columns: list[int], width: int) -> list[int]:
        """Returns the width of each column: that of its longest text, and for the one that folds at most the rest."""
        widths = []
        for number in columns:
            texts = [self._columns[number].heading, *(row[number].plain for row in self._rows if row is not None)]
            widths.append(max(cell_len(line) for text in texts for line in text.split("\n")))
        rest = width - sum(widths) - _GAP * (len(widths) - 1)
        for place, number in enumerate(columns):
            if self._columns[number].folds and rest < 0:
                widths[place] = max(_LEAST, widths[place] + rest)
        return widths

    def _lay_out(
        self, console: Console, columns: list[int], widths: list[int], cells: list[Text]
    ) -> Iterator[RenderableType]:
        """Returns the lines of a row, as many as its longest cell has."""
        folded = [
            cell.wrap(console, width, overflow="fold") if cell.plain else [Text()]
            for cell, width in zip(cells, widths, strict=True)
        ]
        for number in range(max(map(len, folded))):
            line = Text(no_wrap=True, overflow="ellipsis")
            for place, (lines, width) in enumerate(zip(folded, widths, strict=True)):
                cell = lines[number].copy() if number < len(lines) else Text()
                cell.rstrip()
                justify: JustifyMethod = self._columns[columns[place]].justify
                cell.align("right" if justify == "right" else "left", width)
                line.append(" " * _GAP if place else "").append(cell)
            line.rstrip()
            yield line
