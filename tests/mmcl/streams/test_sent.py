"""Own data can be sent to worker processes, also where these are spawned and nothing is inherited."""

import csv
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder

import mmcl
from mmcl.data.content import content_key
from mmcl.data.folder import folder_experience
from mmcl.data.memory import Memory, by_reference, by_value
from mmcl.data.sample import Sample, SampleDataset
from mmcl.data.subset import Joined

CLASSES = ("cat", "dog")


def picture(label: int, number: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (100 * label, 20 * number, 0))


def rows() -> list[dict[str, Any]]:
    return [{"image": picture(i % 2, i), "label": CLASSES[i % 2], "text": f"picture {i}"} for i in range(8)]


def pictures(root: Path) -> Path:
    for number in range(8):
        place = root / CLASSES[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        picture(number % 2, number).save(place / f"{number}.png")
    return root


def csv_file(root: Path) -> Path:
    with (pictures(root) / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "caption", "label", "place"))
        writer.writerows((f"{CLASSES[i % 2]}/{i}.png", f"a {i}", CLASSES[i % 2], "ab"[i // 4]) for i in range(8))
    return root / "rows.csv"


def windows() -> list[dict[str, Any]]:
    return [{"acceleration": np.full((5, 3), i, np.float32), "label": i % 2} for i in range(8)]


def by_class(data: Any) -> SampleDataset:
    return mmcl.streams.by_class(data, experiences=1).train[0].samples


MADE: Mapping[str, Callable[[Path], SampleDataset]] = {
    "pairs": lambda root: by_class([(picture(i % 2, i), i % 2) for i in range(8)]),
    "rows": lambda root: by_class(rows()),
    "windows": lambda root: by_class(windows()),
    "a CSV file": lambda root: by_class(csv_file(root)),
    "a CSV file by domain": lambda root: mmcl.streams.by_domain(csv_file(root), domain="place").train[1].samples,
    "tasks": lambda root: mmcl.streams.by_task([csv_file(root), csv_file(root)]).train[1].samples,
    "an image folder of torchvision": lambda root: by_class(ImageFolder(str(pictures(root)))),
    "a part of it": lambda root: by_class(Subset(ImageFolder(str(pictures(root))), range(8))),
    "paths": lambda root: by_class([(str(p), p.parent.name) for p in sorted(pictures(root).rglob("*.png"))]),
    "a folder": lambda root: folder_experience(pictures(root)).train,
    "a memory": lambda root: Memory(
        [by_value(by_class(windows())[0]), by_reference(0, 1)], {0: by_class(csv_file(root))}
    ),
}


@pytest.mark.parametrize("kind", MADE)
def test_own_data_can_be_sent_to_another_process(tmp_path: Path, kind: str) -> None:
    samples = MADE[kind](tmp_path)
    sent = pickle.loads(pickle.dumps(samples))
    assert [seen(sent[index]) for index in range(len(sent))] == [seen(samples[index]) for index in range(len(samples))]


def test_a_spawned_worker_reads_own_data(tmp_path: Path) -> None:
    kinds = ("rows", "a CSV file", "windows", "a folder", "a memory")
    every = Joined([MADE[kind](tmp_path / kind) for kind in kinds])
    loader = DataLoader(every, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert [seen(sample) for sample in loader] == [seen(every[index]) for index in range(len(every))]


def seen(sample: Sample) -> tuple[str, str, int]:
    """What tells a sample from others."""
    return content_key(sample.inputs), sample.sample_id, sample.target
