"""Densities by class: fitted when an experience ends, drawn from in all later ones."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmcl.data.sample import Batch
from mmcl.objectives.likelihoods import full_precision
from mmcl_strategies.pseudo_replay.density import Density, draw
from mmcl_strategies.pseudo_replay.feature_vae import draw_vae
from mmcl_strategies.shared.drawn_features import Drawn

Record = dict[str, Any]


class ClassDensities:
    """Draws features of old classes.

    Args:
        records: one for each class, experience and set of modalities: these, the width of each, the number of samples,
            and the tensors of the density of their concatenated features, modalities in the order of their names.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._sets: dict[tuple[int, int], list[Record]] = {}
        for record in records:
            # noise is drawn on the CPU; a restart may have put the records on the device
            own = {name: value.cpu() if isinstance(value, Tensor) else value for name, value in record.items()}
            self._sets.setdefault((record["task_id"], record["target"]), []).append(own)
        self._keys = list(self._sets)

    @property
    def task_ids(self) -> list[int]:
        """The experiences they are from, in ascending order."""
        return sorted({task_id for task_id, _ in self._keys})

    def draw(self, count: int, like: Mapping[str, Float[Tensor, "_ _"]], generator: torch.Generator) -> Drawn:
        """Features of ``count`` samples, their classes drawn uniformly, their modalities as often as they occurred.

        Args:
            count: B.
            like: features of each modality of the stream, for width, device and precision.
            generator: on the CPU.
        """
        features = {
            name: full_precision(value).new_zeros(count, value.shape[1], device="cpu") for name, value in like.items()
        }
        present = {name: torch.zeros(count, dtype=torch.bool) for name in like}
        chosen = torch.randint(len(self._keys), (count,), generator=generator).tolist()
        for row, key in enumerate(chosen):
            record = self._one_of(self._sets[self._keys[key]], generator)
            sample = draw_vae(record, generator) if "noise" in record else draw(record, generator)
            parts = sample.split(record["widths"])
            for name, part in zip(record["modalities"], parts, strict=True):
                features[name][row], present[name][row] = part, True
        device = next(iter(like.values())).device
        return Drawn(
            {name: value.to(device) for name, value in features.items()},
            {name: value.to(device) for name, value in present.items()},
            torch.tensor([self._keys[key][1] for key in chosen], device=device),
            torch.tensor([self._keys[key][0] for key in chosen], device=device),
        )

    def _one_of(self, records: Sequence[Record], generator: torch.Generator) -> Record:
        counts = torch.tensor([float(record["count"]) for record in records])
        return records[int(torch.multinomial(counts, 1, generator=generator))] if len(records) > 1 else records[0]


def fit_classes(
    passed: Iterable[tuple[Batch, Mapping[str, Float[Tensor, "_ _"]], Mapping[str, Bool[Tensor, " _"]]]],
    fit: Callable[[Float[Tensor, "N W"]], Density],
) -> list[Record]:
    """One record for each class, experience and set of modalities.

    Args:
        passed: batches, their raw features by tower, and which rows have them.
        fit: features -> their density, ``density.fit`` or ``feature_vae.fit_vae`` with all else given.
    """
    found: dict[tuple[int, int, tuple[str, ...]], list[Tensor]] = {}
    widths: dict[str, int] = {}
    for batch, features, present in passed:
        widths |= {name: value.shape[1] for name, value in features.items()}
        there = {name: rows.tolist() for name, rows in present.items()}
        for row, (task_id, target) in enumerate(zip(batch.task_ids.tolist(), batch.labels.tolist(), strict=True)):
            modalities = tuple(sorted(name for name in features if there[name][row]))
            sample = torch.cat([full_precision(features[name][row]).cpu() for name in modalities])
            found.setdefault((task_id, target, modalities), []).append(sample)
    return [
        {
            "task_id": task_id,
            "target": target,
            "modalities": list(modalities),
            "widths": [widths[name] for name in modalities],
            "count": len(samples),
            **fit(torch.stack(samples)),
        }
        for (task_id, target, modalities), samples in found.items()
    ]


def joined(
    features: Mapping[str, Float[Tensor, "B _"]], present: Mapping[str, Bool[Tensor, " B"]]
) -> Float[Tensor, "B W"]:
    """The features of all modalities of a sample in one row, zero where a modality is missing."""
    parts = [torch.where(present[name].unsqueeze(1), full_precision(value), 0.0) for name, value in features.items()]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
