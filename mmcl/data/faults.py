"""Faults: what is wrong with single samples, so that all of it can be said at once.

A file that cannot be read, numbers that are none, a text without a letter, a sample without any value.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from mmcl.data.sample import SampleDataset
from mmcl.errors import MMCLError


@dataclass(frozen=True)
class Fault:
    """Something that should not be trained on.

    Attributes:
        what: the file, or the id of the sample.
        reason: what is wrong with it.
    """

    what: str
    reason: str


def faults_of(samples: SampleDataset, index: int) -> list[Fault]:
    """What is wrong with one sample, which is read for it."""
    try:
        sample = samples[index]
    except MMCLError as error:
        return [Fault(error.who, error.found)]
    except Exception as error:  # noqa: BLE001  whatever a data set raises is what is wrong with its row
        return [Fault(_called(samples, index), f"it cannot be read ({type(error).__name__}: {error})")]
    what = _called(samples, index, f"sample {sample.sample_id}")
    return [Fault(what, reason) for reason in oddities(sample.inputs)]


def oddities(inputs: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the values of a sample, a sentence for each modality."""
    if not inputs:
        yield "it has no value at all"
    for modality, value in inputs.items():
        texts = value if _is_texts(value) else [value]
        if all(isinstance(text, str) for text in texts):
            if not all(map(str.strip, texts)) or not texts:
                yield f"its {modality} is empty"
        elif (numbers := _numbers(value)) is not None:
            odd = int(numbers.size - np.isfinite(numbers).sum())
            if not numbers.size:
                yield f"its {modality} has no number"
            elif odd:
                yield f"{odd} of {numbers.size} numbers of its {modality} are NaN or infinite"


def _called(samples: SampleDataset, index: int, otherwise: str = "") -> str:
    """The file of a sample, if it has one of its own."""
    path_of = getattr(samples, "path", None)
    path = None if path_of is None else path_of(index)
    return str(path) if path is not None else otherwise or f"sample {index}"


def _is_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(text, str) for text in value)


def _numbers(value: Any) -> Any:
    """The numbers of an array, a tensor or lists of them; ``None`` where there are none, as in pictures."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().float().numpy() if value.is_floating_point() else value.detach().cpu().numpy()
    elif isinstance(value, (list, tuple)):
        try:
            value = np.asarray(value)
        except ValueError:  # parts of different length
            parts = [np.ravel(part) for part in map(_numbers, value) if part is not None]
            return np.concatenate(parts) if parts else None
    known = isinstance(value, (np.ndarray, np.generic, float)) and np.asarray(value).dtype.kind in "biufc"
    return np.asarray(value) if known else None
