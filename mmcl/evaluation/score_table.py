"""ScoreTable: rows of descriptions and scores that lose no digit, however narrow the terminal is.

What is too wide is shown with numbers instead of names, which are told below it; what is still too wide, in blocks of
columns.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from mmcl.escaping import markdown, plain
from mmcl.evaluation.markdown_table import markdown_table

_WITHOUT_END = 100_000  # columns of a terminal that nothing is too wide for


@dataclass(frozen=True)
class ScoreTable:
    """What a terminal, a notebook and ``print`` show of scores.

    Attributes:
        title: above the table.
        descriptions: names of the columns that say what a row is.
        scores: names of the columns of scores.
        rows: cells of descriptions, then of scores.
        caption: below the table.
        first: number of the first row, where rows are numbered.
    """

    title: str
    descriptions: Sequence[str]
    scores: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    first: int = 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width

        def fits(table: Table) -> bool:
            return console.measure(table, options=options.update(width=_WITHOUT_END)).maximum <= width

        every = range(len(self.scores))
        forms = list(product((False, True), (False, True)))  # rows and columns: numbered or not
        rows, columns = next(((r, c) for r, c in forms if fits(self._table(r, c, every))), forms[-1])
        yield from _paragraph(self.title, width, "italic")
        begin = 0
        while begin < len(self.scores):
            ends = range(len(self.scores), begin, -1)
            end = next((end for end in ends if fits(self._table(rows, columns, range(begin, end)))), begin + 1)
            yield self._table(rows, columns, range(begin, end))
            begin = end
        if columns:
            yield from _legend("column", 1, self.scores, width)
        if rows:
            described = [", ".join(map(" ".join, zip(self.descriptions, row, strict=False))) for row in self.rows]
            yield from _legend("row", self.first, described, width)
        yield from _paragraph(self.caption, width, "dim")

    def __str__(self) -> str:
        with (console := Console(highlight=False)).capture() as shown:
            console.print(self)
        return shown.get().rstrip("\n")

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        table = markdown_table([*self.descriptions, *self.scores], self.rows)
        return "\n".join([markdown(self.title), "", *table, "", markdown(self.caption)])

    def _table(self, rows_numbered: bool, columns_numbered: bool, columns: Sequence[int]) -> Table:
        """Some columns of scores beside what the rows are."""
        table, left = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0)), len(self.descriptions)
        for name in [""] if rows_numbered else self.descriptions:
            table.add_column(Text(plain(name)), no_wrap=True, overflow="fold")
        for column in columns:
            name = str(column + 1) if columns_numbered else self.scores[column]
            table.add_column(Text(plain(name)), justify="right", no_wrap=True, overflow="fold")
        for number, row in enumerate(self.rows, self.first):
            described = [str(number)] if rows_numbered else row[:left]
            table.add_row(*(Text(plain(cell)) for cell in (*described, *(row[left + column] for column in columns))))
        return table


def _legend(what: str, first: int, names: Sequence[str], width: int) -> Iterator[Text]:
    for number, name in enumerate(names, first):
        yield from _paragraph(f"{what} {number}: {name}", width)


def _paragraph(text: str, width: int, style: str = "") -> Iterator[Text]:
    """Lines that end after spaces, commas and signs, so that no number is cut."""
    line = ""
    for piece in re.findall(r"[^\s,;:+]*[\s,;:+]*", plain(text)):
        if line and cell_len(line + piece.rstrip()) > width:
            yield Text(line.rstrip(), style, overflow="fold")
            line = ""
        line += piece
    if line:
        yield Text(line.rstrip(), style, overflow="fold")
