"""Memory: complete samples in a form that a checkpoint can hold, by value or as references into the stream."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmcl.data.bulk import Bulk, batch_across, batch_from, stacked
from mmcl.data.sample import Batch, Sample, SampleDataset
from mmcl.errors import DataError

Record = dict[str, Any]

_REFERENCE_BYTES = 16  # two int64
_NUMBERS = frozenset("biufc")  # kinds of NumPy's types whose bytes are the value
_FACTS = itemgetter("inputs", "target", "sample_id", "task_id", "finished")  # of a slot by value
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})  # TIFF takes the others


@dataclass
class Memory(Bulk):
    """A list of slots, each a whole un-augmented sample: every modality, target, experience. A sample data set itself.

    Attributes:
        records: the slots, made by ``by_value`` or ``by_reference``; tensors, numbers, strings, lists and dictionaries.
        stream: index of an experience -> its samples, where references are looked up.
    """

    records: list[Record] = field(default_factory=list)
    stream: Mapping[int, SampleDataset] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        if "index" in record:
            return self.stream[record["task_id"]][record["index"]]
        inputs = {name: _unpack(value) for name, value in record["inputs"].items()}
        return Sample(inputs, record["target"], record["sample_id"], record["task_id"], record["finished"])

    def batch(self, indices: Sequence[int]) -> Batch | None:
        """Finished samples that have the same modalities, or what the stream hands over where the slots refer to it."""
        records = [self.records[index] for index in indices]
        refers = ["index" in record for record in records]
        if all(refers):
            return batch_across(self.stream, [(record["task_id"], record["index"]) for record in records])
        if any(refers):
            return None
        inputs, targets, sample_ids, task_ids, finished = zip(*map(_FACTS, records), strict=True)
        if not all(finished) or len(set(map(tuple, inputs))) > 1:
            return None
        columns = {name: stacked([given[name] for given in inputs]) for name in inputs[0]}
        values = {name: column.cpu() for name, column in columns.items() if column is not None}
        if len(values) < len(columns):
            return None
        return batch_from(values, torch.as_tensor(targets), sample_ids, torch.tensor(task_ids))

    def put(self, slot: int, sample: Sample) -> None:
        """Write a sample to a slot by value; the slot behind the last one appends."""
        self.records[slot : slot + 1] = [by_value(sample)]

    def nbytes(self) -> int:
        """Bytes of all values kept."""
        return nbytes(self.records)


def by_value(sample: Sample) -> Record:
    """The sample itself: images losslessly compressed, tensors and arrays as copies; no view into a data set.

    Raises:
        DataError: if a value is none of these and no number either.
    """
    return {
        "inputs": {name: _pack(name, value) for name, value in sample.inputs.items()},
        "target": sample.target.clone() if isinstance(sample.target, Tensor) else sample.target,
        "sample_id": sample.sample_id,
        "task_id": sample.task_id,
        "finished": sample.finished,
    }


def by_reference(task_id: int, index: int) -> Record:
    """Where the sample is: position ``index`` of experience ``task_id``. The data must stay at hand."""
    return {"task_id": task_id, "index": index}


def nbytes(records: Iterable[Record]) -> int:
    """Bytes of the values in these slots; a reference takes 16, whatever it refers to."""
    return sum(
        _REFERENCE_BYTES if "index" in record else sum(map(_nbytes, (record["target"], *record["inputs"].values())))
        for record in records
    )


def _pack(name: str, value: Any) -> Any:
    if isinstance(value, Image.Image):
        # Pillow 12.0 cannot read the TIFF of YCbCr that it writes
        stored = Image.merge("RGB", value.split()) if value.mode == "YCbCr" else value
        buffer = io.BytesIO()
        stored.save(buffer, format="PNG" if stored.mode in _PNG_MODES else "TIFF")
        return {"file": _held(buffer.getvalue()), "mode": value.mode}
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in _NUMBERS:
        plain = np.asarray(value)
        return {"array": _held(plain.tobytes()), "dtype": plain.dtype.str, "shape": list(plain.shape)}
    if isinstance(value, (list, tuple)):
        return [_pack(name, item) for item in value]
    if not isinstance(value, (str, int, float)):
        raise DataError(
            f"modality {name!r}",
            found=f"a value of type {_kind(value)}, which a memory cannot keep",
            allowed="images, tensors, arrays of numbers, texts, numbers, and lists of them",
            remedy="Turn it into an array or a tensor in the data set; it is still preprocessed.",
        )
    return value


def _unpack(value: Any) -> Any:
    if isinstance(value, Mapping) and "array" in value:
        return np.frombuffer(_bytes(value["array"]), value["dtype"]).reshape(value["shape"]).copy()
    if isinstance(value, Mapping):
        with Image.open(io.BytesIO(_bytes(value["file"]))) as image:
            return image.copy() if image.mode == value["mode"] else Image.merge(value["mode"], image.split())
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    return value.cpu() if isinstance(value, Tensor) else value  # a restart may have put the records on the device


def _held(content: bytes) -> Tensor:
    """Bytes in the form that a checkpoint holds."""
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def _bytes(held: Tensor) -> bytes:
    return held.cpu().numpy().tobytes()


def _kind(value: Any) -> str:
    return type(value).__name__ + (f" of {value.dtype}" if isinstance(value, np.ndarray) else "")


def _nbytes(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_nbytes, value))
    if isinstance(value, Mapping):
        value = value["file"] if "file" in value else value["array"]
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    return len(value.encode()) if isinstance(value, str) else 8
