"""Hard attention to the task: gates on the units of a layer, and what they let the gradient do.

Paper: Serra et al., "Overcoming catastrophic forgetting with hard attention to the task", ICML 2018.
``a = sigmoid(s e)`` is the gate of a unit, e its embedding, s the sharpness, A the cumulative gate: the largest of all
earlier experiences.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def gate(embedding: Float[Tensor, "*units"], s: float) -> Float[Tensor, "*units"]:
    """``sigmoid(s e)``, with a slope that keeps its digits where the gate is almost 1.

    Differentiation writes the slope of a sigmoid as ``a (1 - a)``, and in single precision ``1 - a`` has none left from
    ``s e = 17`` on. ``logsigmoid`` has ``1 - a`` itself as its slope, computed from ``exp(-|s e|)``.
    """
    return functional.logsigmoid(s * embedding).exp()


def annealed(batch: int, batches: int, s_max: float) -> float:
    """The sharpness of a batch, from ``1/s_max`` in the first of an epoch to ``s_max`` in the last (Eq. 3).

    Args:
        batch: counted from 0.
        batches: in an epoch; if it is the only one, the sharpness is ``s_max``.
        s_max: the largest sharpness.
    """
    if batches == 1:
        return s_max
    return 1 / s_max + (s_max - 1 / s_max) * batch / (batches - 1)


def annealed_by_offset(offset: int, samples: int, s_max: float) -> float:
    """The sharpness as the released code has it: by the samples before the batch, so it never reaches ``s_max``.

    Args:
        offset: number of samples in the earlier batches of the epoch.
        samples: in an epoch.
        s_max: the sharpness that would be reached after the epoch.
    """
    return 1 / s_max + (s_max - 1 / s_max) * offset / samples


def stretch(step: int, steps: int, epoch: int) -> tuple[int, int]:
    """Where a step stands in its epoch: the number of its batch, from 0, and the number of batches.

    Training that is measured in steps need not end with an epoch. It is divided into as many stretches, equal up to one
    step, as it has epochs (rounded, at least one), so that every sharpening is completed.

    Args:
        step: counted from 0.
        steps: of the whole training.
        epoch: batches that show every sample once.
    """
    stretches = max(1, round(steps / epoch))
    number = step * stretches // steps
    first, end = (-(-part * steps // stretches) for part in (number, number + 1))
    return step - first, end - first


def sparsity(gates: Sequence[Float[Tensor, " _"]], used: Sequence[Float[Tensor, " _"]]) -> Float[Tensor, ""]:
    """``sum a (1 - A) / sum (1 - A)``, both sums over all units of all layers; 0 where no unit is free.

    Args:
        gates: of each layer, of the experience that is learned.
        used: A of each layer, a constant.
    """
    free = [1 - layer.detach() for layer in used]
    occupied = torch.stack([(gate * room).sum() for gate, room in zip(gates, free, strict=True)]).sum()
    room = torch.stack([layer.sum() for layer in free]).sum()
    return occupied / room.clamp(min=torch.finfo(room.dtype).tiny)


def compensation(
    embedding: Float[Tensor, "*units"], s: float, s_max: float, limit: float = 50.0
) -> Float[Tensor, "*units"]:
    """The factor of an embedding's gradient: ``s_max / s (cosh(s e) + 1) / (cosh(e) + 1)``, with ``|s e| <= limit``.

    It divides by the slope of ``sigmoid(s e)`` and multiplies by ``s_max`` times the slope of ``sigmoid(e)``, so that
    gates move at every sharpness.
    """
    sharp = (s * embedding).clamp(-limit, limit)
    return s_max / s * (sharp.cosh() + 1) / (embedding.cosh() + 1)


def weight_factor(
    shape: torch.Size, after: Float[Tensor, " O"] | None, before: Float[Tensor, " gates"] | None
) -> Float[Tensor, "O I ..."]:
    """The factor of the gradient of a weight: ``1 - min(A_after[o], A_before[i])``.

    Args:
        shape: of the weight of a linear layer or a convolution.
        after: A of the units that it feeds; ``None`` where they have no gate: 1 for every experience.
        before: A of the units it reads, likewise. Where a map of channels was flattened, each channel stands for as
            many consecutive inputs as it has positions.
    """
    known = next((gate for gate in (after, before) if gate is not None), torch.zeros(()))
    rows = known.new_ones(shape[0]) if after is None else after
    columns = known.new_ones(shape[1]) if before is None else before.repeat_interleave(shape[1] // len(before))
    factor = 1 - torch.minimum(rows.unsqueeze(1), columns)
    return factor.reshape(*factor.shape, *[1] * (len(shape) - 2)).expand(shape)


def bias_factor(shape: torch.Size, after: Float[Tensor, " O"] | None) -> Float[Tensor, " O"]:
    """The factor of the gradient of a bias: ``1 - A_after[o]``; 0 where the units have no gate."""
    return torch.zeros(shape) if after is None else 1 - after


def binary(gates: Float[Tensor, "*units"]) -> Float[Tensor, "*units"]:
    """Gates above one half are 1, the others 0."""
    return (gates > 0.5).to(gates.dtype)
