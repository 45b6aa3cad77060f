"""FisherPass: the diagonal of the Fisher information of an experience, at the weights that are handed over."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from mmcl.data.sample import Batch
from mmcl.data.subset import Subset
from mmcl.errors import TrainingError
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.strategy import Learner
from mmcl_strategies.maths.fisher import estimators
from mmcl_strategies.maths.fisher.scaling import Norm, clipped, normalised
from mmcl_strategies.maths.fisher.shared_stage import Shared

Estimator = Literal["empirical", "sampled", "exact", "batched"]


@dataclass(frozen=True)
class FisherPass:
    """One more pass over the training samples of an experience: in evaluation mode, un-augmented, in full precision,
    free of label smoothing and of all strategies. It leaves no trace.

    Attributes:
        estimator: see ``estimators``.
        samples: so many of the experience's, drawn at random; ``None`` for all.
        batch_size: of the pass; it changes ``batched`` and the likelihood of pairs, which compete within a batch.
        clip: upper bound of each entry; ``None`` for none.
        norm: by which the result is divided, after clipping.
        all_classes: let all classes seen compete, even where training has those of the experience alone.
    """

    estimator: Estimator
    samples: int | None
    batch_size: int
    clip: float | None
    norm: Norm
    all_classes: bool = False

    def __call__(self, learner: Learner, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """The Fisher information of the current experience by name of trainable parameter.

        Raises:
            TrainingError: if it is not finite.
        """
        generator = learner.generator("fisher")
        samples = learner.current.samples
        chosen = Subset(samples, torch.randperm(len(samples), generator=generator)[: self.samples].tolist())

        def batches() -> Iterator[Batch]:
            return learner.one_pass(chosen, self.batch_size)

        own_classes = False if self.all_classes else None
        likelihood = partial(learner.log_likelihood, own_classes=own_classes)
        table = partial(learner.log_probabilities, own_classes=own_classes)

        with auxiliary_pass(learner.model):
            shown = learner.current.modalities
            towers = [tower.module for tower in learner.model.backbone.towers.values() if tower.reads & shown]
            learner.consider(next(iter(learner.one_pass(chosen, 1))), own_classes)
            shared = _class_embeddings(learner)
            draw = partial(estimators.draw_labels, generator=generator)
            passes: dict[str, Callable[[], dict[str, Tensor]]] = {
                "empirical": lambda: estimators.empirical(parameters, batches(), likelihood, towers, shared),
                "sampled": lambda: estimators.sampled(parameters, batches(), table, draw, towers, shared),
                "exact": lambda: estimators.exact(parameters, batches(), table, towers, shared),
                "batched": lambda: estimators.batched(parameters, batches(), likelihood),
            }
            information = passes[self.estimator]()
        for name, values in information.items():
            if not bool(values.isfinite().all()):
                raise TrainingError(
                    f"Fisher information of experience {learner.current.name!r}",
                    found=f"values that are not finite, for parameter {name!r}",
                    allowed="finite log-likelihoods with finite gradients",
                    remedy="Lower the learning rate; the last experience's checkpoint is kept.",
                )
        return normalised(clipped(information, self.clip), self.norm)


def _class_embeddings(learner: Learner) -> Shared | None:
    """The text features of the classes that compete, those of one batch as of all; ``None`` if the head embeds none."""
    embedding, backbone, space = learner.model.head.prompted, learner.model.backbone, learner.label_space
    if embedding is None or not len(space):
        return None
    return Shared(partial(embedding.text_features, space), partial(embedding.holding, space), [backbone])
