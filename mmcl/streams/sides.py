"""Sides: which rows of own data are for training and which for testing."""

from collections.abc import Mapping, Sequence

from mmcl.data.table import Table, TableSamples
from mmcl.errors import DataError
from mmcl.streams.grouping import held_back


class Sides:
    """The training and the test rows of one data set; test rows are matched by class name.

    Raises:
        DataError: if the test data have a class that the training data lack, or other modalities.
    """

    def __init__(self, train: Table, test: Table | None, rows: Sequence[int] | None = None) -> None:
        self.train, self.test = train, train if test is None else test
        every = range(len(train)) if rows is None else rows
        if test is not None:
            self.train_rows, self.test_rows = list(every), list(range(len(test)))
        elif train.sides is not None:
            self.train_rows = [row for row in every if train.sides[row] == "train"]
            self.test_rows = [row for row in every if train.sides[row] == "test"]
        else:
            kept, aside = held_back([train.labels[row] for row in every], train.names, f"data set {train.name!r}")
            self.train_rows, self.test_rows = [every[i] for i in kept], [every[i] for i in aside]
        if strange := sorted({self.test.names[self.test.labels[row]] for row in self.test_rows} - set(train.names)):
            raise DataError(
                f"data set {self.test.name!r}",
                found=f"the class {strange[0]!r}, which the training data lack",
                allowed="the classes of the training data",
                remedy="Remove these rows, or add the class to the training data.",
            )
        if self.test.modalities != train.modalities:
            raise DataError(
                f"data set {self.test.name!r}",
                found=f"the modalities {', '.join(sorted(self.test.modalities))}",
                allowed=f"those of the training data: {', '.join(sorted(train.modalities))}",
                remedy="Give both sides the same columns.",
            )

    @property
    def present(self) -> list[str]:
        """Names of the classes that occur in training, in the table's order."""
        labels = {self.train.labels[row] for row in self.train_rows}
        return [text for label, text in enumerate(self.train.names) if label in labels]

    def samples(self, ids: Mapping[int, int], task_id: int) -> tuple[TableSamples, TableSamples]:
        """Training and test samples of the classes in ``ids``, a mapping from the table's labels to class ids."""
        label_of = {text: label for label, text in enumerate(self.train.names)}
        found = []
        for side, rows in ((self.train, self.train_rows), (self.test, self.test_rows)):
            ids_here = {label: ids.get(label_of.get(text, -1)) for label, text in enumerate(side.names)}
            pairs = [(row, id_) for row in rows if (id_ := ids_here[side.labels[row]]) is not None]
            if not pairs:
                raise DataError(
                    f"data set {side.name!r}",
                    found=f"no row of the classes {[self.train.names[label] for label in ids]}",
                    allowed="rows for training and for testing in every experience",
                    remedy="Add rows, or leave these classes out.",
                )
            found.append(TableSamples(side, [row for row, _ in pairs], [id_ for _, id_ in pairs], task_id))
        return found[0], found[1]
