"""Tables in Markdown."""

from collections.abc import Sequence

from mmcl.escaping import markdown


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, whose cells are shown as they are."""
    return table_of_markdown([markdown(name) for name in header], [[markdown(cell) for cell in row] for row in rows])


def table_of_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, whose cells are Markdown themselves."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
