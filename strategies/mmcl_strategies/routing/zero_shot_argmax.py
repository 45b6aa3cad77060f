"""zero_shot_argmax: what the pre-trained model itself takes a sample for says which experience's additions it gets.

Paper: none. The question is that of RAIL's gate (Xu et al., "Advancing cross-domain discriminability in continual
learning of vision-language models", NeurIPS 2024), where the answer weighs two kinds of scores.
Idea: a sample whose zero-shot answer is a class that was learned takes the way of the experience that taught it; one
whose answer is a class that nobody taught takes the plain way. So nothing has to be trained or stored to find ways.
Equation: ``c* = argmax_c <norm(f(x)), norm(g(c))>`` of plain CLIP over all classes met and all that the sample is asked
about; the way is the experience of c*, -1 if c* was never taught.
Kept between experiences: which classes were met, and where.
It chooses ways and adds nothing to the model: compose it with a strategy whose additions take ways, such as
``moe_adapters``. Where the task id is known nobody asks it.
Deviations: a class that several experiences have taught stands for the last of them, so where all experiences have the
same classes every sample takes the newest way; a run is told so.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError
from mmcl.learning.compose import Need, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Backbone
from mmcl.models.heads import TextHead
from mmcl.models.routing import Plain, Router
from mmcl_strategies.routing.votes import Granularity, majority


def ways_of(
    features: Float[Tensor, "B D"], texts: Float[Tensor, "C D"], taught_by: Int64[Tensor, " C"]
) -> Int64[Tensor, " B"]:
    """The experience that taught the class whose text is nearest to each row.

    Args:
        features: of images.
        texts: of classes, at unit length.
        taught_by: the last experience of each class, ``PLAIN`` for those that nobody taught.
    """
    return taught_by[(functional.normalize(features.to(texts.dtype), dim=-1) @ texts.T).argmax(1)]


class ZeroShot(Router):
    """Sends a row to the experience that taught its zero-shot answer; rows without an image are plain.

    Args:
        backbone: whose answer it is.
        granularity: whether each row is decided alone, or all rows go where most of them would.
    """

    def __init__(self, backbone: Backbone, granularity: Granularity = "sample") -> None:
        super().__init__()
        self.granularity = granularity
        self._names = TextHead(backbone)
        self._taught_by: dict[int, int] = {}
        self._met = LabelSpace()

    def meet(self, arrival: Arrival) -> None:
        """The classes of an experience are its own from now on."""
        self._met = self._met.union(arrival.label_space)
        self._taught_by |= dict.fromkeys(arrival.label_space.ids, arrival.index)

    def forward(self, inputs: Inputs, plain: Plain) -> Route:
        """The way of each row, at full strength."""
        encoded = plain(inputs)
        device = next(iter(inputs.present.values())).device
        if IMAGE not in encoded.features or not self._met:
            return Route.plain(inputs.batch_size, device)
        candidates = self._met.union(inputs.asked.label_space)
        texts = self._names.text_features(candidates, (PLAIN, 0.0))
        taught_by = torch.tensor([self._taught_by.get(id_, PLAIN) for id_ in candidates.ids], device=device)
        query, present = encoded.features[IMAGE].pooled, encoded.present[IMAGE]
        ids = torch.where(present, ways_of(query, texts, taught_by), PLAIN)
        if self.granularity == "batch" and bool(present.any()):
            ids = torch.where(present, majority(ids[present]), PLAIN)
        return Route(ids, (ids != PLAIN).to(query.dtype), query)


@dataclass(kw_only=True, eq=False)
class ZeroShotArgmax(StrategyPlugin):
    """Lets the pre-trained model's own answer choose the way of test samples."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.ROUTE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER, Need.TEXT_ENCODER})

    granularity: Granularity = "sample"  # decide for each image, or for a batch as a whole

    def adapt_model(self, learner: Learner) -> None:
        """Put the router into the model.

        Raises:
            CompositionError: if images cannot be compared with texts.
        """
        towers = learner.model.backbone.towers
        if towers[IMAGE].width != towers[TEXT].width:
            raise CompositionError(
                "strategy 'zero_shot_argmax'",
                found=f"features of {towers[IMAGE].width} numbers for images and {towers[TEXT].width} for texts",
                allowed="a backbone whose images and texts have features of one width",
                remedy="Choose a CLIP-like backbone, such as glyph-clip.",
            )
        learner.model.router = ZeroShot(learner.model.backbone, self.granularity)

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Say so where answers tell nothing about experiences."""
        own, current = set(learner.current.label_space.ids), learner.current.index
        earlier = {id_ for other in learner.seen if other.index != current for id_ in other.label_space.ids}
        if own <= earlier:
            learner.remarks.add(
                "zero_shot_argmax cannot tell experiences apart whose classes were all taught before: every sample "
                "of these classes takes the way of the newest. Compose a router that looks at features, such as ddas."
            )
