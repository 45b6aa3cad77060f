"""Predictions: what a model says of what it is asked about, for people, JSON and tables."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """An answer.

    Attributes:
        name: the file or row that was asked about.
        classes: the best ones with their probabilities among those considered, best first; texts where they compete.
    """

    name: str
    classes: Sequence[tuple[str, float]]

    def __str__(self) -> str:
        return f"{self.name}: " + "  ".join(f"{name} {100 * share:.1f} %" for name, share in self.classes)


def as_json(predictions: Sequence[Prediction]) -> str:
    """A list of ``{"name", "classes": [{"name", "probability"}]}``."""
    rows = [
        {"name": said.name, "classes": [{"name": name, "probability": share} for name, share in said.classes]}
        for said in predictions
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False)


def as_csv(predictions: Sequence[Prediction]) -> str:
    """A row for each class of each answer: ``name,rank,class,probability``."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(("name", "rank", "class", "probability"))
    for said in predictions:
        table.writerows((said.name, rank, *answer) for rank, answer in enumerate(said.classes, 1))
    return lines.getvalue().rstrip("\n")
