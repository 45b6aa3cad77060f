"""Cost and accuracy of the Fisher information of glyph-clip's two towers.

    python tests/performance/fisher_cost.py

Embedded MTIL: after some of its experiences the pass of ``ewc`` over at most 500 samples is compared with

1. a pass over the same samples in the same batches that squares the gradient of each batch's mean (cost: medians of
   ratios of alternating runs, CPU time, one thread);
2. one forward and one backward pass per sample (accuracy: cosine and ratio of the sums, tower by tower).

Nothing is asserted.
"""

import statistics
import time
from collections.abc import Callable

import torch
from mmcl_benchmarks.mtil.benchmark import MTIL
from mmcl_strategies.maths.fisher.fisher_pass import FisherPass
from torch import Tensor, nn

from mmcl.backbones.openclip import GlyphCLIP
from mmcl.data.subset import Subset
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.learner import Learner
from mmcl.models.multimodal import MultimodalModel

EXPERIENCES, SAMPLES, PAIRS = 4, 500, 5
Parameters = dict[str, nn.Parameter]


def chosen(learner: Learner) -> Subset:
    """The samples that the pass draws."""
    samples = learner.current.samples
    return Subset(samples, torch.randperm(len(samples), generator=learner.generator("fisher"))[:SAMPLES].tolist())


def squares(learner: Learner, parameters: Parameters, batch_size: int) -> dict[str, Tensor]:
    """Squared gradients of batch means, averaged over batches; with batches of one, the Fisher information."""
    totals = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    with auxiliary_pass(learner.model):
        batches = 0
        for batch in learner.one_pass(chosen(learner), batch_size):
            gradients = torch.autograd.grad(learner.log_likelihood(batch).mean(), list(parameters.values()))
            for total, gradient in zip(totals.values(), gradients, strict=True):
                total.addcmul_(gradient, gradient)
            batches += 1
    return {name: total / batches for name, total in totals.items()}


def seconds(run: Callable[[], object]) -> float:
    """CPU time."""
    began = time.process_time()
    run()
    return time.process_time() - began


def median_ratio(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float, float]:
    """Median, minimum and maximum of the ratio first/second over alternating runs, after one warm-up each."""
    first(), second()
    ratios = [seconds(first) / seconds(second) for _ in range(PAIRS)]
    return statistics.median(ratios), min(ratios), max(ratios)


def main() -> None:
    """Print a line per experience and batch size."""
    torch.set_num_threads(1)
    benchmark = MTIL(embedded=True).build()
    model = MultimodalModel(GlyphCLIP().build())
    learner = Learner(model=model, scenario=benchmark.scenario, defaults=benchmark.training)
    for experience in benchmark.train[:EXPERIENCES]:
        learner.train(experience)
        learner.experience = experience
        parameters = dict(learner.model.shared_parameters())
        print(f"{experience.name}: {len(chosen(learner))} samples, {len(experience.label_space)} classes")
        for size in (32, 64):
            fisher = FisherPass("empirical", SAMPLES, size, None, "none")
            ratio = median_ratio(
                lambda fisher=fisher, p=parameters: fisher(learner, p),
                lambda size=size, p=parameters: squares(learner, p, size),
            )
            print("  batches of {}: median {:.2f} ({:.2f} to {:.2f})".format(size, *ratio))
        found, brute = fisher(learner, parameters), squares(learner, parameters, 1)
        for tower in ("image", "text"):
            names = [name for name in parameters if ("visual" in name) == (tower == "image")]
            ours, truth = (torch.cat([f[name].flatten() for name in names]).double() for f in (found, brute))
            cosine = float(torch.cosine_similarity(ours, truth, dim=0))
            print(f"  {tower} tower: cosine {cosine:.7f}, sum {float(ours.sum() / truth.sum()):.5f} of brute force")


if __name__ == "__main__":
    main()
