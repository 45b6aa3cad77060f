"""Pickles: what the owners' files hold is read, and a file that does anything else is refused by what it does."""

import pickle
import pickletools
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mmcl_benchmarks.formats.content import whole_numbers
from mmcl_benchmarks.formats.pickled import read_pickle, read_pickled_dictionary

# as cPickle of Python 2 writes {"data": uint8[2, 3], "fine_labels": [0, 1], "batch_label": "b"}, protocol 2
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq"
    b"\x05(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff"
    b"\xffK\x00tb\x89U\x06\x00\x7f\x80\xff\x01\x02tbU\x0bfine_labelsq\x08]q\t(K\x00K\x01eU\x0bbatch_labelq\nU\x01bq\x0bu."
)


def read(raw: bytes, folder: Path) -> Any:
    (folder / "file").write_bytes(raw)
    return read_pickle(folder / "file")


def test_a_file_of_python_2_is_read(tmp_path: Path) -> None:
    assert pickle.loads(PYTHON_2, encoding="latin1")["fine_labels"] == [0, 1]  # it is a pickle
    (tmp_path / "train").write_bytes(PYTHON_2)
    content = read_pickled_dictionary(tmp_path / "train")
    assert content["data"].tolist() == [[0, 127, 128], [255, 1, 2]]
    assert content["data"].dtype == np.uint8
    assert (content["fine_labels"], content["batch_label"]) == ([0, 1], "b")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)
NUMBERS = st.sampled_from(["u1", "<i4", ">i4", "<f8", ">f2", "i8"]).flatmap(
    lambda kind: arrays(np.dtype(kind), st.lists(st.integers(0, 3), max_size=3).map(tuple))
)


@settings(deadline=None, max_examples=60)
@given(content=st.dictionaries(st.text(), VALUES | st.just(2**70)), numbers=NUMBERS, protocol=st.integers(0, 4))
def test_plain_values_and_arrays_of_every_protocol_come_back(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any], numbers: Any, protocol: int
) -> None:
    numbers = np.asfortranarray(numbers) if protocol % 2 else numbers
    # the same array twice: what a file refers to again is the array too
    file = tmp_path_factory.getbasetemp() / "plain"
    file.write_bytes(pickle.dumps({"plain": content, "one": numbers, "two": [numbers]}, protocol=protocol))
    found = read_pickle(file)
    assert found["plain"] == content
    for array in (found["one"], found["two"][0]):
        assert array.dtype == numbers.dtype
        np.testing.assert_array_equal(array, numbers)


class Call:
    """What a file can ask for, written down by pickle itself."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], state: Any = None) -> None:
        self.function, self.arguments, self.state = function, arguments, state

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.function, self.arguments, *([] if self.state is None else [self.state]))


def array(shape: tuple[Any, ...], kind: Any, content: Any) -> Call:
    multiarray = np._core.multiarray  # type: ignore[attr-defined]
    return Call(multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, shape, kind, False, content))


def typed(said: str, *state: Any) -> Call:
    return Call(np.dtype, (said, False, True), state or None)  # type: ignore[arg-type]


PLAIN = (3, "|", None, None, None, -1, -1, 0)
HOSTILE: dict[str, Any] = {
    "a command": Call(__import__("os").system, ("touch ran",)),
    "a builtin": Call(eval, ("open('ran', 'w')",)),
    "an array of objects, made by a call": Call(np.ndarray, ((1, 3072), "O", b"A" * 8 * 3072)),
    "an array of objects": array((1,), np.dtype("O"), b"A" * 8),
    "a type of objects with the state of a plain one": array((1,), typed("O8", *PLAIN), b"A" * 8),
    "a type that becomes one with fields": array(
        (1,), typed("u1", 3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 27), b"A" * 8
    ),
    "a type with a size of its own": array((8,), typed("u1", 3, "|", None, None, None, 1 << 40, 8, 0), b"A" * 8),
    "a type with a shape of its own": array(
        (8,), typed("u1", 3, "|", (np.dtype("u1"), (8,)), None, None, -1, -1, 0), b"A" * 8
    ),
    "more than is there": array((10**13,), np.dtype("u1"), b"A" * 8),
    "sides that overflow to what is there": array((2**32, 2**32), np.dtype("u1"), b""),
    "a side below 0": array((-1, -8), np.dtype("u1"), b"A" * 8),
    "a side of another kind": array((8.0,), np.dtype("u1"), b"A" * 8),
    "values of another kind": array((1,), np.dtype("u1"), ["A"]),
    "a state for a list": Call(list, (), {"a": 1}),
    "texts as numbers": np.array(["a"]),
    "objects as numbers": np.array([None]),
    "a key that is a tuple": {(1, 2): 3},
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_is_no_plain_value_is_refused_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^file: \S"):
        read(pickle.dumps({"data": content}, protocol=protocol), tmp_path)
    assert not (tmp_path / "ran").exists()


DEEP = 200_000
VAST = b"]" + b"".join(b"q%c](%s" % (place, b"h%c" % place * 10) + b"e" for place in range(12))  # 10^12 values
STREAMS = {
    "a type whose name fills the memory": b"\x80\x02cnumpy\ndtype\n" + VAST + b"\x85R.",
    "a type whose name is as deep as 200,000 lists": b"\x80\x02cnumpy\ndtype\n"
    + b"]" * DEEP
    + b"a" * (DEEP - 1)
    + b"\x85R.",
    "an encoding that fills the memory": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00a" + VAST + b"\x86R.",
    "10^13 bytes": b"\x80\x04\x8e" + struct.pack("<Q", 10**13) + b"A.",
    "2^62 characters": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"A.",
    "a frame of 10^13 bytes": b"\x80\x04\x95" + struct.pack("<Q", 10**13) + b"N",
    "a place in the memo that takes 64 GB": b"\x80\x02]r\xff\xff\xff\xffh\x00.",
    "a key as deep as 200,000 tuples": b"\x80\x02}N" + b"\x85" * DEEP + b"Ns.",
    "an extension": b"\x80\x02\x82\x01.",
    "an object of the first version": b"(cos\nsystem\nS'touch ran'\no.",
    "an instance of the first version": b"(S'touch ran'\nios\nsystem\n.",
    "a new object": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "a buffer outside": b"\x80\x05\x97.",
    "a name without end": b"\x80\x02cos",
    "a number of a million digits": b"I" + b"9" * 10**6 + b"\n.",
    "a persistent name": b"Pevil\n.",
}


@pytest.mark.parametrize("raw", STREAMS.values(), ids=STREAMS)
def test_a_stream_that_no_program_wrote_is_refused(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"^file: \S"):
        read(raw, tmp_path)


def test_lists_as_deep_as_memory_are_read_and_dropped(tmp_path: Path) -> None:
    assert isinstance(read(b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b".", tmp_path), list)


def test_lists_that_hold_each_other_are_no_numbers_and_take_no_memory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no list of whole numbers"):
        whole_numbers(read(b"\x80\x02" + VAST + b".", tmp_path), "it")
    with pytest.raises(ValueError, match="no list of whole numbers"):
        whole_numbers(["a" * 10**7] + [0] * 10**5, "it")  # as an array of texts four terabytes


def test_files_with_other_bytes_never_do_more_than_be_refused(tmp_path: Path) -> None:
    chance, refused = random.Random(0), []
    for _ in range(1000):
        raw = bytearray(PYTHON_2)
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw))] = chance.choice([chance.randrange(256), ord(chance.choice("Rbc(t.}"))])
        try:
            read(bytes(raw), tmp_path)
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 300
    assert all(sentence.startswith("file: ") for sentence in refused)


def test_only_instructions_that_build_values_are_known() -> None:
    from mmcl_benchmarks.formats.pickled import _PlainUnpickler

    known = {op.name for op in pickletools.opcodes if ord(op.code) in _PlainUnpickler.dispatch}
    assert known.isdisjoint(
        {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "DUP"}
        | {"READONLY_BUFFER", "BYTEARRAY8", "EMPTY_SET", "FROZENSET", "ADDITEMS"}
    )
    assert {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "STOP"} < known
