"""Sample, Inputs and Batch: the three shapes in which data travel."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from mmcl.data.asked import NOTHING, Asked
from mmcl.data.route import Route
from mmcl.errors import DataError


@dataclass(frozen=True, slots=True)
class Sample:
    """One example as a benchmark returns it, before any preprocessing.

    Attributes:
        inputs: modality -> raw value (a PIL image, a string, a tensor). A missing modality is simply absent.
        target: the global class id for classification, or whatever the objective of the benchmark expects.
        sample_id: unique within the benchmark and stable across machines.
        task_id: index of the experience the sample belongs to.
        finished: whether the values are tensors that a backbone takes as they are; no preprocessing is applied.
    """

    inputs: Mapping[str, Any]
    target: Any
    sample_id: str
    task_id: int
    finished: bool = False


@runtime_checkable
class SampleDataset(Protocol):
    """What a benchmark provides for each split: raw samples by index, nothing random, nothing preprocessed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class Inputs(Mapping[str, Tensor]):
    """What a model may see of a batch: every modality of the stream, and which of them are really there.

    Attributes:
        present: modality -> ``bool[B]``; rows that are ``False`` hold a fill value.
        sample_ids: the ids of the rows.
        task_ids: ``int64[B]``, or ``None`` where the scenario hides them.
        asked: what competes for the answers; the learner writes it when it considers a batch.
        whole: the modalities that no row lacks, known since the batch was stacked, so that nobody has to ask the
            device; ``None`` where that is not known.
        route: which way through an adapted model each row takes; ``None`` before the model has chosen.
    """

    __slots__ = ("_values", "asked", "present", "route", "sample_ids", "task_ids", "whole")

    def __init__(
        self,
        values: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        sample_ids: tuple[str, ...] = (),
        task_ids: Tensor | None = None,
        asked: Asked = NOTHING,
        whole: frozenset[str] | None = None,
        route: Route | None = None,
    ) -> None:
        self._values = dict(values)
        self.present = dict(present)
        self.sample_ids = sample_ids
        self.task_ids = task_ids
        self.asked = asked
        self.whole = whole
        self.route = route

    def __getitem__(self, modality: str) -> Tensor:
        return self._values[modality]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def batch_size(self) -> int:
        """B, the number of rows."""
        return next(iter(self._values.values())).shape[0]

    def is_whole(self, modality: str) -> bool:
        """Whether no row lacks a modality."""
        return bool(self.present[modality].all()) if self.whole is None else modality in self.whole

    def having_any(self, modalities: Iterable[str]) -> Tensor:
        """``bool[B]``: which rows have one of these modalities."""
        return torch.stack([self.present[name] for name in modalities if name in self.present]).any(0)

    def having_all(self, modalities: Iterable[str]) -> Tensor:
        """``bool[B]``: which rows have each of these modalities."""
        return torch.stack([self.present[name] for name in modalities]).all(0)

    def replace(self, **changes: Any) -> "Inputs":
        """The same inputs but for the named arguments of the constructor: the only way to make others of them."""
        kept = {
            "values": self._values,
            "present": self.present,
            "sample_ids": self.sample_ids,
            "task_ids": self.task_ids,
            "asked": self.asked,
            "whole": self.whole,
            "route": self.route,
        }
        return Inputs(**{**kept, **changes})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Inputs":
        """The same inputs on ``device``."""
        return self.replace(
            values={name: value.to(device, non_blocking=non_blocking) for name, value in self._values.items()},
            present={name: value.to(device, non_blocking=non_blocking) for name, value in self.present.items()},
            task_ids=None if self.task_ids is None else self.task_ids.to(device, non_blocking=non_blocking),
            asked=self.asked.to(device, non_blocking),
            route=None if self.route is None else self.route.to(device, non_blocking),
        )

    def pin_memory(self) -> "Inputs":
        """The same inputs in page-locked memory."""
        return self.replace(
            values={name: value.pin_memory() for name, value in self._values.items()},
            present={name: value.pin_memory() for name, value in self.present.items()},
            task_ids=None if self.task_ids is None else self.task_ids.pin_memory(),
        )

    def with_task_ids(self, task_ids: Tensor | None) -> "Inputs":
        """The same inputs with the task ids revealed (``int64[B]``) or hidden (``None``)."""
        return self.replace(task_ids=task_ids)

    def select(self, rows: Tensor) -> "Inputs":
        """The rows named by an index or a mask, with everything that belongs to them."""
        ids = torch.arange(self.batch_size, device=rows.device)[rows].tolist() if self.sample_ids else []
        return self.replace(
            values={name: value[rows] for name, value in self._values.items()},
            present={name: value[rows] for name, value in self.present.items()},
            sample_ids=tuple(self.sample_ids[i] for i in ids),
            task_ids=None if self.task_ids is None else self.task_ids[rows],
            asked=self.asked.select(rows),
            route=None if self.route is None else self.route.select(rows),
        )

    def having(self, modality: str) -> "Inputs | None":
        """The rows that have a modality, with that modality alone; ``None`` if there is no such row."""
        present = self.present.get(modality)
        if present is None or not bool(present.any()):
            return None
        alone = self.replace(values={modality: self[modality]}, present={modality: present})
        return (alone if bool(present.all()) else alone.select(present)).replace(whole=frozenset({modality}))

    def followed_by(self, other: "Inputs") -> "Inputs":
        """These rows, then those of ``other``, which has the same modalities."""
        known = self.task_ids is not None and other.task_ids is not None
        return self.replace(
            values={name: torch.cat([value, other[name]]) for name, value in self._values.items()},
            present={name: torch.cat([value, other.present[name]]) for name, value in self.present.items()},
            sample_ids=self.sample_ids + other.sample_ids,
            task_ids=torch.cat([self.task_ids, other.task_ids]) if known else None,  # type: ignore[list-item]
            asked=self.asked.followed_by(other.asked, (self.batch_size, other.batch_size)),
            whole=None if self.whole is None or other.whole is None else self.whole & other.whole,
            route=None if self.route is None or other.route is None else self.route.followed_by(other.route),
        )


class Batch(NamedTuple):
    """Inputs, targets and task ids, in the field order that avalanche's plugins expect."""

    inputs: Inputs
    targets: Tensor
    task_ids: Tensor

    @property
    def labels(self) -> Tensor:
        """Class ids ``int64[B]``.

        Raises:
            DataError: if the targets are something else.
        """
        if self.targets.dtype.is_floating_point or self.targets.ndim != 1:
            raise DataError(
                "a batch",
                found=f"targets of type {self.targets.dtype} and shape {list(self.targets.shape)}",
                allowed="class ids, a whole number in each row",
                remedy="Choose a benchmark of classes, or declare Need.CLASSES.",
            )
        return self.targets

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on ``device``: itself, if that is where it is."""
        if self.targets.device == torch.device(device):
            return self
        return Batch(
            self.inputs.to(device, non_blocking),
            self.targets.to(device, non_blocking=non_blocking),
            self.task_ids.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory."""
        return Batch(self.inputs.pin_memory(), self.targets.pin_memory(), self.task_ids.pin_memory())

    def followed_by(self, other: "Batch") -> "Batch":
        """These rows, then those of ``other``, which has the same modalities."""
        return Batch(
            self.inputs.followed_by(other.inputs),
            torch.cat([self.targets, other.targets]),
            torch.cat([self.task_ids, other.task_ids]),
        )

    def select(self, rows: Tensor) -> "Batch":
        """The rows named by an index or a mask."""
        return Batch(self.inputs.select(rows), self.targets[rows], self.task_ids[rows])


class Batches(Protocol):
    """A known number of batches, as a loader gives them."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...
