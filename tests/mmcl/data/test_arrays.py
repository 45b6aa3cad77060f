"""Array files: finite numbers as they were written; whatever else a file holds is refused before memory is taken."""

import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mmcl.data.arrays import open_array
from mmcl.errors import DataError

KINDS = st.sampled_from(["?", "u1", "<i2", ">i4", "i8", "<f4", ">f8", "f2"])


@settings(deadline=None, max_examples=50)
@given(
    written=KINDS.flatmap(lambda kind: arrays(np.dtype(kind), array_shapes(max_dims=3, max_side=4), fill=st.just(0)))
)
def test_an_array_comes_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, written: np.ndarray) -> None:
    file = tmp_path_factory.getbasetemp() / "array.npy"
    np.save(file, written)
    if written.dtype.kind == "f" and not np.isfinite(written).all():
        with pytest.raises(DataError, match="NaN or infinite"):
            open_array(file)
    else:
        found = open_array(file)
        assert found.dtype == written.dtype
        assert np.array_equal(found, written)


def test_lines_of_numbers_are_steps(tmp_path: Path) -> None:
    (tmp_path / "window.csv").write_text("1,2.5,-3\n4,5,6\n")
    assert open_array(tmp_path / "window.csv").tolist() == [[1, 2.5, -3], [4, 5, 6]]


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A gigabyte more than there is in use."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


HEADERS = {
    "more numbers than the file has": "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}",
    "sides that overflow": "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
    "a side below 0": "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
    "texts of no length": "{'descr': '|S0', 'fortran_order': False, 'shape': (10000000000000,)}",
    "values of no length": "{'descr': '|V0', 'fortran_order': False, 'shape': (10000000000000,)}",
    "objects": "{'descr': 'O', 'fortran_order': False, 'shape': (1,)}",
    "structures": "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,)}",
    "a header that is no dictionary": "[",
    "a header without end": "{'descr': '<f8', 'fortran_order': False, 'shape': (1,",
    "a header as deep as 4,000 tuples": "{'descr': " + "(" * 4000 + ")" * 4000 + "}",
    "a header as deep as 9,000 signs": "{'descr': " + "-" * 9000 + "1}",
}


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_no_program_wrote_is_refused(tmp_path: Path, header: str) -> None:
    line = header.encode() + b"\n"
    (tmp_path / "it.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + bytes(64))
    with pytest.raises(DataError, match=r"it\.npy") as refusal:
        open_array(tmp_path / "it.npy")
    assert len(str(refusal.value)) < 600


@pytest.mark.parametrize("text", ["", "\n", "a,b\n1,2\n", "1,2\n3\n", "1,nan\n", "1,1e999\n", "1,\x00\n"])
def test_lines_that_hold_anything_else_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "it.csv").write_text(text)
    with pytest.raises(DataError, match=r"it\.csv"):
        open_array(tmp_path / "it.csv")
