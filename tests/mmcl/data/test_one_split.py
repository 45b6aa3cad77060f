"""Own pictures are split by one rule, whichever way they come in."""

from pathlib import Path

import pytest
from PIL import Image

from mmcl.data.experience_data import ExperienceData
from mmcl.data.folder import folder_experience
from mmcl.streams import by_class
from mmcl.streams.extension import with_data


def pictures(root: Path, classes: str, count: int) -> Path:
    """``count`` pictures in each class folder, no two alike."""
    for column, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for row in range(count):
            Image.new("RGB", (2, 2), (column, row, 0)).save(root / name / f"{row}.png")
    return root


def held(data: ExperienceData) -> set[str]:
    """The test pictures, by their places below the root of the data."""
    return {"/".join(data.test[row].sample_id.split("/")[-2:]) for row in range(len(data.test))}


@pytest.mark.parametrize("count", [2, 5, 7, 14])  # where shares of 80 and of 20 %, rounded down, are not one rule
def test_a_folder_a_stream_and_an_extension_hold_back_the_same_pictures(tmp_path: Path, count: int) -> None:
    root = pictures(tmp_path / "pictures", "ab", count)
    stream = by_class(root, experiences=1)
    extended = with_data(by_class(pictures(tmp_path / "first", "xy", 5), experiences=1), root)
    each = [folder_experience(root), stream.experiences[0], extended.experiences[1]]
    assert len(held(each[0])) == 2 * max(1, count // 5)
    assert [held(data) for data in each] == [held(each[0])] * 3
