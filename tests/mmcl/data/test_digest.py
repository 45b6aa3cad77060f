"""A digest tells data sets apart by what they hold, not by where they lie."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mmcl
from mmcl.data.collate import TensorSamples
from mmcl.data.digest import samples_digest
from mmcl.data.folder import LabelledFiles
from mmcl.data.reference import ImageFiles
from mmcl.data.sample import Sample


def files(root: Path, order: tuple[int, ...] = (0, 1, 2), shade: int = 0, targets: tuple[int, ...] = (0, 1, 1)) -> Any:
    root.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        Image.new("RGB", (8, 8), (shade + number, 0, 0)).save(root / f"{number}.bmp")
    return LabelledFiles([(root / f"{number}.bmp", targets[number]) for number in order], root, 0)


def test_it_is_the_same_wherever_the_files_lie(tmp_path: Path) -> None:
    digest = samples_digest(files(tmp_path / "a"))
    shutil.move(tmp_path / "a", tmp_path / "b")
    moved = [(tmp_path / "b" / f"{number}.bmp", target) for number, target in enumerate((0, 1, 1))]
    assert samples_digest(LabelledFiles(moved, tmp_path / "b", 0)) == digest


@pytest.mark.parametrize(
    "other",
    [{"order": (1, 0, 2)}, {"order": (0, 1)}, {"targets": (1, 0, 1)}, {"shade": 9}],
    ids=["order", "fewer", "labels", "pictures of equal size"],
)
def test_it_changes_with_order_number_labels_and_contents(other: dict[str, Any], tmp_path: Path) -> None:
    assert samples_digest(files(tmp_path / "a")) != samples_digest(files(tmp_path / "b", **other))


def test_nothing_is_decoded_and_a_file_that_is_missing_is_left_to_its_reader(tmp_path: Path) -> None:
    samples = files(tmp_path / "a")
    (tmp_path / "a" / "1.bmp").write_bytes(b"no picture")
    broken = samples_digest(samples)
    (tmp_path / "a" / "1.bmp").unlink()
    assert samples_digest(samples) != broken


def test_captions_beside_a_picture_count(tmp_path: Path) -> None:
    files(tmp_path)
    digests = set()
    for word in ("one", "two"):
        rows = [f"{number}.bmp,{word},{number},{side}" for number in (0, 1) for side in ("train", "test")]
        (tmp_path / "rows.csv").write_text("\n".join(["image,caption,label,split", *rows]))
        stream = mmcl.streams.by_class(tmp_path / "rows.csv", experiences=1)
        digests.add(samples_digest(stream.train[0].samples))
    assert len(digests) == 2


def test_values_in_memory_count_by_their_content() -> None:
    values, targets = torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 1])
    digest = samples_digest(TensorSamples({"image": values}, targets))
    assert digest == samples_digest(TensorSamples({"image": values.clone()}, targets))
    assert digest != samples_digest(TensorSamples({"image": values + 1}, targets))
    assert digest != samples_digest(TensorSamples({"image": values}, targets.flip(0)))


def test_contents_that_change_whenever_they_are_read_are_left_out() -> None:
    class Noisy:
        generator = np.random.default_rng(0)

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Sample:
            return Sample({"image": self.generator.random(3)}, index, str(index), 0)

    assert samples_digest(Noisy()) == samples_digest(Noisy())


def test_reference_images_count_too(tmp_path: Path) -> None:
    files(tmp_path / "a"), files(tmp_path / "b", shade=1)
    one, other = (samples_digest(ImageFiles(sorted((tmp_path / name).iterdir()))) for name in "ab")
    assert one != other
