"""Sides: which rows of own data are for training and which for testing."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from mmcl.data.holdout import held_back
from mmcl.data.names import plain_name, some
from mmcl.data.table import Table, TableSamples
from mmcl.errors import DataError


class Sides:
    """The training and the test rows of one data set, each in the order of its keys.

    A class is what occurs in training. Classes of the test rows are found by name, as people read names.

    Args:
        train: the training rows, or all of them.
        test: the test rows, if they are a table of their own.
        rows: only these of ``train``.
        test_rows: only these of ``test``.

    Attributes:
        classes: the classes that occur in training, as positions in ``train.names``.

    Raises:
        DataError: if the test data have a class that the training data lack, or other modalities.
    """

    def __init__(
        self,
        train: Table,
        test: Table | None,
        rows: Sequence[int] | None = None,
        test_rows: Sequence[int] | None = None,
    ) -> None:
        self.train, self.test = train, train if test is None else test
        every = _chosen(train, rows)
        if test is not None:
            self.train_rows = [row for row in every if train.sides is None or train.sides[row] == "train"]
            self.test_rows = [
                row for row in _chosen(test, test_rows) if test.sides is None or test.sides[row] == "test"
            ]
        elif train.sides is not None:
            self.train_rows = [row for row in every if train.sides[row] == "train"]
            self.test_rows = [row for row in every if train.sides[row] == "test"]
        else:
            labels, keys = [train.labels[row] for row in every], [train.keys[row] for row in every]
            kept, aside = held_back(labels, train.names, keys, f"data set {train.name!r}")
            self.train_rows, self.test_rows = [every[i] for i in kept], [every[i] for i in aside]
        if not self.train_rows:
            raise DataError(
                f"data set {train.name!r}",
                found="no row for training",
                allowed="rows for training and for testing in every experience",
                remedy="Add some; a column 'split' says which rows are for testing only.",
            )
        self.classes = sorted({train.labels[row] for row in self.train_rows})
        tested = {self.test.names[self.test.labels[row]] for row in self.test_rows}
        if strange := sorted(name for name in tested if plain_name(name) not in self._class_of):
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

    @cached_property
    def _class_of(self) -> dict[str, int]:
        return {plain_name(self.train.names[label]): label for label in self.classes}

    @property
    def remarks(self) -> Iterator[str]:
        """What was said when the tables were read, and which classes have no rows or no test rows."""
        yield from dict.fromkeys((*self.train.remarks, *self.test.remarks))
        present = set(self.train.labels)
        if absent := [name for label, name in enumerate(self.train.names) if label not in present]:
            yield (
                f"data set {self.train.name!r}: the classes {some(absent)} have no row and are left out of the stream."
            )
        tested = {plain_name(self.test.names[self.test.labels[row]]) for row in self.test_rows}
        if unseen := [self.train.names[label] for name, label in self._class_of.items() if name not in tested]:
            yield f"data set {self.test.name!r}: no test row shows the classes {some(unseen)}; no score tells of them."

    def samples(self, ids: Mapping[int, int], task_id: int) -> tuple[TableSamples, TableSamples]:
        """Training and test samples of the classes in ``ids``, a mapping from the table's labels to class ids."""
        found = []
        sides = (("training", self.train, self.train_rows), ("test", self.test, self.test_rows))
        for what, side, rows in sides:
            ids_here = [ids.get(self._class_of.get(plain_name(name), -1)) for name in side.names]
            pairs = [(row, id_) for row in rows if (id_ := ids_here[side.labels[row]]) is not None]
            if not pairs:
                raise DataError(
                    f"data set {side.name!r}",
                    found=f"no {what} row of the classes {some(self.train.names[label] for label in ids)}",
                    allowed="rows for training and for testing in every experience",
                    remedy="Add rows, or leave these classes out.",
                )
            found.append(TableSamples(side, [row for row, _ in pairs], [id_ for _, id_ in pairs], task_id))
        return found[0], found[1]


def _chosen(table: Table, rows: Sequence[int] | None) -> list[int]:
    """Some rows of a table, or all, in the order of their keys."""
    wanted = None if rows is None else set(rows)
    return [row for row in table.order if wanted is None or row in wanted]
