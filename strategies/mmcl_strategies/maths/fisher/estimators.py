"""The diagonal of the Fisher information, one gradient per sample, for any differentiable likelihood.

``F = 1/N sum_n (d log p_n / d theta)^2``: squared per sample, then averaged. Squaring the mean over a batch instead is
another quantity, about 1/batch as large and differently ranked; it exists here only as ``batched``.

Every estimator takes
    parameters: name -> trainable parameter;
    batches: any iterable; an item is only handed on to the likelihood;
    a likelihood, differentiable: ``log_prob(batch) -> [B]`` or ``log_probs(batch) -> [B, classes]``;
    row_aligned: modules that process every sample in rows of its own (first dimension), without mixing samples.
      A text tower that encodes one prompt per class for the whole batch is not row-aligned;
    shared: a tensor that the likelihood computes from parameters alone, such as the embeddings of those prompts.

Parameters of row-aligned modules come from one backward pass per batch (``per_sample``), after a check against
automatic differentiation with random weights per sample. Those behind the shared tensor come from a few backward passes
for all batches (``shared_stage``), up to a tolerance. All others, and those that a sample reaches in both ways, cost
one backward pass per sample, over the part of the graph that reaches them. ``.grad`` is never touched; modes are the
caller's business.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mmcl.errors import DataError, PluginError, TrainingError
from mmcl_strategies.maths.fisher.per_sample import PerSample
from mmcl_strategies.maths.fisher.recorder import Recorder
from mmcl_strategies.maths.fisher.shared_stage import Shared, SharedStage

Parameters = Mapping[str, nn.Parameter]


B = TypeVar("B")


def empirical(
    parameters: Parameters,
    batches: Iterable[B],
    log_prob: Callable[[B], Float[Tensor, " B"]],
    row_aligned: Iterable[nn.Module] = (),
    shared: Shared | None = None,
) -> dict[str, Tensor]:
    """``1/N sum_n (d log p(y_n | x_n))^2`` with the true targets."""
    return _mean_of_squares(parameters, batches, lambda batch: iter([log_prob(batch)]), row_aligned, shared)


def sampled(
    parameters: Parameters,
    batches: Iterable[B],
    log_probs: Callable[[B], Float[Tensor, "B classes"]],
    draw: Callable[[Float[Tensor, "B classes"]], Int64[Tensor, " B"]],
    row_aligned: Iterable[nn.Module] = (),
    shared: Shared | None = None,
) -> dict[str, Tensor]:
    """``empirical`` with one label per sample drawn from the model, ``draw(log_probs)``.

    Unbiased for ``exact``. ``draw_labels`` with a generator bound is the usual ``draw``.
    """

    def of_drawn_labels(batch: B) -> Iterator[Tensor]:
        table = log_probs(batch)
        yield table.gather(1, draw(table.detach())[:, None])[:, 0]

    return _mean_of_squares(parameters, batches, of_drawn_labels, row_aligned, shared)


def exact(
    parameters: Parameters,
    batches: Iterable[B],
    log_probs: Callable[[B], Float[Tensor, "B classes"]],
    row_aligned: Iterable[nn.Module] = (),
    shared: Shared | None = None,
) -> dict[str, Tensor]:
    """``1/N sum_n sum_c p(c | x_n) (d log p(c | x_n))^2`` over all columns of ``log_probs(batch)``."""

    def of_every_class(batch: B) -> Iterator[Tensor]:
        table = log_probs(batch)
        weights = (0.5 * table.detach()).exp()
        # a class that does not compete has probability 0 and an infinite logarithm
        yield from torch.where(weights > 0, table, 0.0).mul(weights).unbind(1)

    return _mean_of_squares(parameters, batches, of_every_class, row_aligned, shared)


def batched(
    parameters: Parameters, batches: Iterable[B], log_prob: Callable[[B], Float[Tensor, " B"]]
) -> dict[str, Tensor]:
    """Compatibility only: the squared gradient of each batch mean, averaged over batches: about 1/B of the Fisher."""
    return _mean_of_squares(parameters, batches, lambda batch: iter([log_prob(batch).mean()[None]]), (), None)


def draw_labels(log_probs: Float[Tensor, "B classes"], generator: torch.Generator) -> Int64[Tensor, " B"]:
    """One label per row, with the probabilities of the row; drawn on the generator's device."""
    drawn = torch.multinomial(log_probs.exp().to(generator.device), 1, generator=generator)
    return drawn[:, 0].to(log_probs.device)


@torch.enable_grad()
def _mean_of_squares(
    parameters: Parameters,
    batches: Iterable[B],
    vectors: Callable[[B], Iterator[Tensor]],
    row_aligned: Iterable[nn.Module],
    shared: Shared | None,
) -> dict[str, Tensor]:
    """``1/N sum_n g_n^2`` summed over the vectors ``[B]`` of every batch, g_n the gradient of entry n."""
    totals = {
        name: torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))
        for name, parameter in parameters.items()
        if parameter.requires_grad
    }
    trainable = {name: parameters[name] for name in totals}
    roots, check, count = list(row_aligned), _Check(), 0
    stage = SharedStage(shared, trainable) if shared is not None else None

    def evaluate(batch: B, through: SharedStage | None) -> tuple[list[Tensor], Recorder]:
        with nullcontext() if through is None else through.held(), Recorder(trainable, roots) as recorder:
            return list(vectors(batch)), recorder

    for batch in batches:
        through = stage
        values_of_batch, recorder = evaluate(batch, through)
        if through is not None and not all(map(through.serves, values_of_batch)):
            through = None
            values_of_batch, recorder = evaluate(batch, through)
        samples = 0
        for values in values_of_batch:
            _require_finite_vector(values)
            samples = len(values)
            if samples and values.requires_grad:
                _add_squares(totals, trainable, values, recorder, check, through)
        count += samples
    if count == 0:
        raise DataError(
            "Fisher information",
            found="no sample",
            allowed="at least one sample with a likelihood",
            remedy="Check the batches handed to the estimator.",
        )
    for name, squares in stage.squares().items() if stage is not None else ():
        totals[name] += squares
    return {name: total / count for name, total in totals.items()}


def _add_squares(
    totals: dict[str, Tensor],
    parameters: Parameters,
    values: Tensor,
    recorder: Recorder,
    check: "_Check",
    stage: SharedStage | None,
) -> None:
    proposals = check.accepted(recorder.gradients(values), parameters, values) if len(values) > 1 else {}
    for name, gradients in proposals.items():
        totals[name] += gradients.sum_of_squares()
    reached_by_stage = stage.names if stage is not None else set()
    others = [name for name in parameters if name not in proposals and name not in reached_by_stage]
    wanted: list[Tensor] = [parameters[name] for name in others]
    if stage is not None and stage.names:
        wanted.append(stage.leaf)
    if not wanted:
        return
    for value in values:
        gradients_of_one = torch.autograd.grad(value, wanted, retain_graph=True, allow_unused=True)
        for name, gradient in zip(others, gradients_of_one, strict=False):
            if gradient is not None:
                totals[name].addcmul_(gradient.to(totals[name].dtype), gradient.to(totals[name].dtype))
        if stage is not None and stage.names:
            stage.add(gradients_of_one[-1])


class _Check:
    """Compares proposed per-sample gradients with automatic differentiation, whenever a batch is larger than before.

    A sum of per-sample gradients with random weights is equal to the gradient of the weighted sum of values only if
    every gradient is attributed to its own sample. Parameters that fail once are never proposed again.
    """

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._largest: dict[str, int] = {}
        self._rejected: set[str] = set()

    def accepted(self, proposals: dict[str, PerSample], parameters: Parameters, values: Tensor) -> dict[str, PerSample]:
        unchecked = [
            name for name in proposals if name not in self._rejected and self._largest.get(name, 0) < len(values)
        ]
        if unchecked:
            weights = 0.5 + torch.rand(len(values), generator=self._generator, dtype=torch.float64)
            weights = weights.to(values)
            truth = torch.autograd.grad(
                (weights * values).sum(),
                [parameters[name] for name in unchecked],
                retain_graph=True,
                allow_unused=True,
            )
            for name, gradient in zip(unchecked, truth, strict=True):
                self._largest[name] = len(values)
                if gradient is None or not _close(proposals[name].weighted_sum(weights), gradient):
                    self._rejected.add(name)
        return {name: proposal for name, proposal in proposals.items() if name not in self._rejected}


def _close(proposed: Tensor, truth: Tensor) -> bool:
    tolerance = 10 * torch.finfo(truth.dtype).eps ** 0.5
    return proposed.shape == truth.shape and bool((proposed - truth).norm() <= tolerance * truth.norm())


def _require_finite_vector(values: Tensor) -> None:
    if values.ndim != 1:
        raise PluginError(
            "log-likelihood",
            found=f"a tensor of shape {tuple(values.shape)}",
            allowed="one log-likelihood per sample, shape [B]",
            remedy="Return the log-likelihood of every sample, not their mean.",
        )
    if not bool(values.isfinite().all()):
        raise TrainingError(
            "log-likelihood",
            found="values that are not finite",
            allowed="finite log-likelihoods",
            remedy="Lower the learning rate; the last experience's checkpoint is kept.",
        )
