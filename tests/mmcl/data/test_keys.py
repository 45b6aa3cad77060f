"""Where the files of rows lie, and reading that draws the same for every row."""

import random
from pathlib import Path

import numpy as np
import torch

from mmcl.data.keys import drawing_alike, places_below


def test_files_are_placed_below_the_root(tmp_path: Path) -> None:
    files = [tmp_path / "a" / "1.png", None, tmp_path / "a" / ".." / "b" / "2.png"]
    assert places_below(files, tmp_path) == ["a/1.png", None, "b/2.png"]
    assert places_below(files[:1], tmp_path / "a") == ["1.png"]


def test_without_a_root_that_holds_all_they_are_placed_below_what_they_share(tmp_path: Path) -> None:
    files = [tmp_path / "x" / "a" / "1.png", tmp_path / "x" / "b" / "2.png"]
    assert places_below(files, None) == places_below(files, tmp_path / "y") == ["a/1.png", "b/2.png"]
    assert places_below([None], None) == [None]


def test_a_name_has_one_form_on_every_file_system(tmp_path: Path) -> None:
    assert places_below([tmp_path / "e\u0301.png"], tmp_path) == ["\u00e9.png"]


def test_every_row_draws_the_same_and_the_generators_are_put_back() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    wanted = draw()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with drawing_alike(3) as again:
        again()
        first = draw()
        again()
        assert draw() == first
    assert draw() == wanted
