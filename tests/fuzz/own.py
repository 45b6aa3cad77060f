"""Own data in every layout that `mmcl run own` takes, in miniature."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

CLASSES = ("cat", "red fox")
SIDES = ("train", "train", "test")
GREY = Image.new("RGB", (8, 8), "grey")


def write_folder(root: Path) -> None:
    """``SIDE/CLASS/PICTURE``."""
    for number, side in enumerate(SIDES):
        for name in CLASSES:
            _picture(root / side / name / f"{number}.png")


def write_csv(root: Path) -> None:
    """Pictures of two makers."""
    rows = [
        {"image": f"{maker}/{label}{number}.jpg", "label": label, "maker": maker, "split": side}
        for maker in ("anna", "bert")
        for label in CLASSES
        for number, side in enumerate(SIDES)
    ]
    for row in rows:
        _picture(root / row["image"])
    _table(root / "rows.csv", rows)


def write_pairs(root: Path) -> None:
    """Pictures with captions."""
    rows = [
        {"image": f"{number}.png", "text": f'a "thing", the {number}th', "split": SIDES[number % 3]}
        for number in range(9)
    ]
    for row in rows:
        _picture(root / row["image"])
    _table(root / "rows.csv", rows)


def write_windows(root: Path) -> None:
    """Windows of sensors, in both kinds of array files."""
    rows = []
    for place, label in enumerate(CLASSES):
        for number, side in enumerate(SIDES):
            window = np.arange(12, dtype=np.float32).reshape(4, 3) + place
            rows += [
                {"acceleration": f"{place}-{number}{suffix}", "label": label, "split": side}
                for suffix in (".npy", ".csv")
            ]
            np.save(root / f"{place}-{number}.npy", window)
            np.savetxt(root / f"{place}-{number}.csv", window, delimiter=",")
    _table(root / "rows.csv", rows)


def write_saved(root: Path) -> None:
    """A data set of Hugging Face with both sides."""
    labels = [*CLASSES, *CLASSES]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    side = datasets.Dataset.from_dict({"image": [GREY] * len(labels), "label": labels}, features)
    datasets.DatasetDict({"train": side, "test": side}).save_to_disk(root)


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    GREY.save(path)


def _table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
