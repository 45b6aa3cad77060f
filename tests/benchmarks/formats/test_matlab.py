"""MATLAB files: what SciPy writes is read, and a damaged file is refused where SciPy's own reader would crash."""

import random
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmcl_benchmarks.formats.matlab import read_matlab
from scipy.io import savemat


def annotations(count: int) -> Any:
    kind = [("bbox_x1", "O"), ("class", "O"), ("fname", "O")]
    return np.array([(30 * i, i % 200 + 1, f"{i:05d}.jpg") for i in range(count)], dtype=kind)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 300])
def test_structures_numbers_and_cells_are_read_as_scipy_wrote_them(
    tmp_path: Path, compressed: bool, count: int
) -> None:
    content = {
        "other": 3.5,
        "annotations": annotations(count),
        "class_names": np.array(["a b", "Ünï", "", "x"] * count, dtype=object),
        "small": np.arange(count, dtype=np.uint8),
        "large": np.arange(count) * 1000 - 500,
        "halves": np.arange(count) / 2,
        "text": "no list",
    }
    path = tmp_path / "file.mat"
    savemat(path, content, do_compression=compressed)
    listed = read_matlab(path, "annotations")
    assert isinstance(listed, dict)
    assert listed["class"] == [i % 200 + 1 for i in range(count)]
    assert listed["fname"] == [f"{i:05d}.jpg" for i in range(count)]
    assert read_matlab(path, "class_names") == ["a b", "Ünï", "", "x"] * count
    for name in ("small", "large", "halves"):
        assert read_matlab(path, name) == content[name].tolist()  # type: ignore[attr-defined]
    for absent in ("text", "nothing"):
        with pytest.raises(ValueError, match=f"file.mat holds no list '{absent}'"):
            read_matlab(path, absent)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_with_other_bytes_is_refused_or_read_and_nothing_else(tmp_path: Path, compressed: bool) -> None:
    whole, path = tmp_path / "whole.mat", tmp_path / "file.mat"
    savemat(whole, {"annotations": annotations(3), "labels": np.arange(9)}, do_compression=compressed)
    chance, refused = random.Random(0), []
    for _ in range(600):
        raw = bytearray(whole.read_bytes())
        for _ in range(chance.randint(1, 3)):
            raw[chance.randrange(126, len(raw))] = chance.choice([0, 1, 14, 15, 255, chance.randrange(256)])
        path.write_bytes(raw)
        for key in ("annotations", "labels"):
            try:
                read_matlab(path, key)
            except ValueError as error:
                refused.append(str(error))
    assert len(refused) > 500
    assert all(sentence.startswith("file.mat") for sentence in refused)


def test_a_small_file_that_claims_a_gigabyte_takes_no_gigabyte(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mat"
    savemat(whole, {"labels": np.arange(9)})
    bomb = zlib.compress(b"\x0e\0\0\0\xff\xff\xff\x7f" + bytes(2**28 + 2**20))
    path = tmp_path / "file.mat"
    path.write_bytes(whole.read_bytes()[:128] + b"\x0f\0\0\0" + len(bomb).to_bytes(4, "little") + bomb)
    with pytest.raises(ValueError, match=r"file\.mat: an element claims 2147483647 bytes and has 268"):
        read_matlab(path, "labels")
