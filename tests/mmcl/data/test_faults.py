"""What is wrong with a sample is said of every sample, whatever its kind."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmcl.data.faults import Fault, faults_of, oddities
from mmcl.data.folder import LabelledFiles
from mmcl.data.sample import Sample
from mmcl.errors import DataError


class Rows:
    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        if isinstance(self.rows[index], Exception):
            raise self.rows[index]
        return Sample(self.rows[index], 0, f"own/{index}", 0)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({}, "no value at all"),
        ({"text": " \n"}, "its text is empty"),
        ({"text": ["a cat", ""]}, "its text is empty"),
        ({"emg": np.array([[1.0, np.nan], [np.inf, 2.0]])}, "2 of 4 numbers of its emg are NaN or infinite"),
        ({"emg": torch.tensor([1.0, -math.inf], dtype=torch.bfloat16)}, "1 of 2 numbers of its emg"),
        ({"emg": [[0.0, math.nan]]}, "1 of 2 numbers of its emg"),
        ({"emg": [np.array([1.0, np.nan]), np.array([np.inf])]}, "2 of 3 numbers of its emg"),
        ({"emg": [torch.tensor([1.0, math.nan]), torch.tensor([0.0])]}, "1 of 3 numbers of its emg"),
        ({"emg": np.float32(np.nan)}, "1 of 1 numbers of its emg"),
        ({"emg": np.zeros((0, 3))}, "its emg has no number"),
    ],
)
def test_values_that_cannot_be_learned_from_are_named(inputs: dict[str, Any], sentence: str) -> None:
    (said,) = oddities(inputs)
    assert sentence in said
    assert faults_of(Rows([inputs]), 0) == [Fault("sample own/0", said)]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1), st.text(min_size=1))
def test_finite_numbers_and_texts_with_letters_are_no_fault(numbers: list[float], text: str) -> None:
    picture = Image.new("L", (2, 2))
    values = {
        "emg": np.array(numbers),
        "gyroscope": numbers,
        "image": picture,
        "text": [f"a {text}"],
        "n": np.array([1]),
        "windows": [[1.0], [2.0, 3.0]],
        "parts": [[text], [text, text]],
    }
    assert list(oddities(values)) == []


def test_every_oddity_of_a_sample_is_said() -> None:
    assert len(list(oddities({"text": "", "emg": np.array([np.nan]), "image": Image.new("L", (1, 1))}))) == 2


def test_a_file_is_named_by_its_path_and_a_row_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    (fault,) = faults_of(LabelledFiles([(tmp_path / "a.png", 0)], tmp_path, 0), 0)
    assert str(tmp_path / "a.png") in fault.what
    assert "cannot be read" in fault.reason
    error = DataError("row 7", found="half of it", allowed="all", remedy="Repair it.")
    assert faults_of(Rows([error]), 0) == [Fault("row 7", "half of it")]
    assert faults_of(Rows([KeyError("img")]), 0) == [Fault("sample 0", "it cannot be read (KeyError: 'img')")]
