"""DDAS: infers the experience of an image by how well small autoencoders reconstruct what an unrelated network sees.

Paper: part of Yu et al., "Boosting Continual Learning of Vision-Language Models via Mixture-of-Experts Adapters",
CVPR 2024; the released code decides where it differs from the paper.
Idea: an autoencoder per experience, on frozen features of a network that is not adapted, and one of reference data. The
best reconstruction names the way; what nobody reconstructs well, or the reference best, takes the plain way, on which
the model is the pre-trained one.
Equations: s = sigmoid of AlexNet's last convolution before its ReLU; ``d_a = mean (AE_a(s) - s)^2``,
``a* = argmin d_a``; plain if ``d_a* > threshold`` or a* is the reference. Adam with coupled weight decay, the rate
times 0.1 every 10 epochs.
Kept between experiences: the autoencoders, in the model's router; earlier ones are never touched again.
It chooses ways and adds nothing to the model: compose it with a strategy whose additions take ways, such as
``moe_adapters``. Where the task id is known nobody asks it.
Deviations: each image is decided alone (``granularity="sample"``, ours): the authors decide once for a batch of 128
test images that all come from one data set, which ``granularity="batch"`` does. Only autoencoders that have been
trained compete; the released code lets those of experiences to come take part.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor, nn

from mmcl.data.modality import IMAGE
from mmcl.data.reference import ReferenceData
from mmcl.data.sample import SampleDataset
from mmcl.learning.compose import Need, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.options import Count, NonNegative, Positive, Rate, Width
from mmcl_strategies.routing.alexnet import convolutions
from mmcl_strategies.routing.reconstruction import REFERENCE, Reconstruction, train_autoencoder
from mmcl_strategies.shared.reference import reference_for


@dataclass(kw_only=True, eq=False)
class DDAS(StrategyPlugin):
    """Trains an autoencoder after each experience and lets them choose the way of test samples."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER, Need.REFERENCE_DATA})
    threshold: Positive = 0.0655  # of the mean squared error; the authors' few-shot scripts have 0.0585 and 0.06
    granularity: Literal["sample", "batch"] = "sample"  # decide for each image, or for a batch as the authors do
    weights: str = "imagenet"  # of AlexNet: torchvision's, "glyph" for embedded editions, or a file
    code: Width = 100  # hidden units of an autoencoder
    iterations: Count = 301  # steps for an experience
    reference_iterations: Count = 1001  # steps for the reference data
    lr: Rate = 0.01  # of the autoencoders; 0.003 in few-shot runs
    weight_decay: NonNegative = 1e-4  # of the autoencoders, added to their gradient
    decay_every: Count = 10  # epochs after which the rate is a tenth
    batch_size: Width | None = None  # None: the training settings'
    reference: str | None = None  # folder with images/ and captions.txt; None: the benchmark's reference data

    # makes of ``weights`` what gives the features, ``[N, C, H, W]`` -> ``[N, ...]``; tests put another in its place
    _network: Callable[[str], nn.Module] = field(default_factory=lambda: convolutions, init=False, repr=False)
    _router: Reconstruction | None = field(default=None, init=False, repr=False)

    @property
    def slots(self) -> frozenset[Slot]:
        """It chooses the way."""
        return frozenset({Slot.ROUTE})

    @property
    def grows(self) -> bool:
        """By an autoencoder for each experience."""
        return True

    def requirements(self) -> frozenset[Need]:
        """Reference data of its own stand in for the benchmark's."""
        return self.needs if self.reference is None else self.needs - {Need.REFERENCE_DATA}

    def reference_data(self) -> ReferenceData | None:
        """Those of the folder ``reference``."""
        return None if self.reference is None else ReferenceData.from_folder(Path(self.reference))

    def miniature(self) -> "DDAS":
        """With embedded weights, small autoencoders and short loops."""
        return replace(self, weights="glyph", code=4, iterations=3, reference_iterations=3, batch_size=4)

    def adapt_model(self, learner: Learner) -> None:
        """Put the router into the model, with the autoencoder of the reference data."""
        self._router = learner.model.router = Reconstruction(
            self._network(self.weights),
            learner.model.backbone.specs[IMAGE].shape,
            code=self.code,
            threshold=self.threshold,
            granularity=self.granularity,
        )

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """The reference data come before all experiences."""
        assert self._router is not None
        if not bool(self._router.of(REFERENCE).learned):
            images = reference_for(self, "ddas", learner).images
            self._fit(learner, REFERENCE, images, self.reference_iterations, "ddas reference")

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """The autoencoder of the experience that has been learned."""
        self._fit(learner, str(learner.current.index), learner.current.samples, self.iterations, "ddas")

    def _fit(self, learner: Learner, name: str, samples: SampleDataset, steps: int, order: str) -> None:
        router, size = self._router, self.batch_size or learner.config.batch_size
        assert router is not None

        def features() -> Iterator[Tensor]:
            for batch in learner.batches(samples, steps, batch_size=size, name=order):
                images = batch.to(learner.device).inputs.having(IMAGE)
                if images is not None:
                    yield router.look(images[IMAGE])

        train_autoencoder(
            router.of(name),
            features(),
            lr=self.lr,
            weight_decay=self.weight_decay,
            steps_per_epoch=ceil(len(samples) / size),
            decay_every=self.decay_every,
        )
