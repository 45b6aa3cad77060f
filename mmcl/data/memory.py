"""Memory: complete samples kept by value, in a form that a checkpoint can hold and that owns its bytes."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mmcl.data.sample import Sample

Record = dict[str, Any]


@dataclass
class Memory:
    """A list of slots, each a whole un-augmented sample: every modality, target, experience.

    Images are kept as PNG (lossless), tensors as copies, texts as texts: no slot is a view into a data set. It is a
    sample data set itself.
    """

    records: list[Record] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        inputs = {name: _unpack(value) for name, value in record["inputs"].items()}
        return Sample(inputs, record["target"], record["sample_id"], record["task_id"], record["finished"])

    def put(self, slot: int, sample: Sample) -> None:
        """Write a sample to a slot; the slot behind the last one appends."""
        record = {
            "inputs": {name: _pack(value) for name, value in sample.inputs.items()},
            "target": sample.target.clone() if isinstance(sample.target, Tensor) else sample.target,
            "sample_id": sample.sample_id,
            "task_id": sample.task_id,
            "finished": sample.finished,
        }
        if slot == len(self.records):
            self.records.append(record)
        else:
            self.records[slot] = record

    def nbytes(self) -> int:
        """Bytes of all values kept."""
        return sum(_nbytes(value) for record in self.records for value in record["inputs"].values())


def _pack(value: Any) -> Any:
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        value.save(buffer, format="PNG")
        return {"png": torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)}
    return value.clone() if isinstance(value, Tensor) else value


def _unpack(value: Any) -> Any:
    if isinstance(value, Mapping):
        with Image.open(io.BytesIO(value["png"].cpu().numpy().tobytes())) as image:
            return image.copy()
    return value.cpu() if isinstance(value, Tensor) else value  # a restart may have put the records on the device


def _nbytes(value: Any) -> int:
    if isinstance(value, Mapping):
        value = value["png"]
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    return len(value.encode()) if isinstance(value, str) else 8
