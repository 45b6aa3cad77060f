"""Reading: how the data sets of a stream become tables, those that extend it later included."""

from dataclasses import dataclass
from typing import Any

from mmcl.data.pairing import paired
from mmcl.data.records import Columns
from mmcl.data.table import Table
from mmcl.data.tabulation import tabulated


@dataclass(frozen=True)
class Reading:
    """How data sets become tables.

    Attributes:
        label: column of the class; ``None`` for rows that have none.
        columns: column -> modality it holds, or ``None`` if it is not needed.
        ready: whether values are tensors that a backbone takes as they are.
        group: column that tells experiences apart, in data that extend the stream, too.
        several: whether a folder of data sets extends the stream by an experience for each of them.
    """

    label: str | None = "label"
    columns: Columns | None = None
    ready: bool = False
    group: str | None = None
    several: bool = False

    def __call__(self, data: Any, name: str, column: str | None = None) -> Table:
        """A data set as a table, with the groups that a column says."""
        return tabulated(data, name, label=self.label, column=column, columns=self.columns, ready=self.ready)


@dataclass(frozen=True)
class PairReading(Reading):
    """How data sets become tables with a row for every pair."""

    label: None = None

    def __call__(self, data: Any, name: str, column: str | None = None) -> Table:
        """A data set as a table, with the groups that a column says."""
        return paired(super().__call__(data, name, column))
