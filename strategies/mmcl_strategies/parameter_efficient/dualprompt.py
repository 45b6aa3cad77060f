"""DualPrompt: prefixes that all experiences share in the first layers, and prefixes of each experience behind them.

Paper: Wang, Zhang, Ebrahimi, Sun, Zhang, Lee, Ren, Su, Perot, Dy and Pfister, "DualPrompt: Complementary Prompting for
Rehearsal-Free Continual Learning", ECCV 2022; computed as in the toolbox LAMDA-PILOT.
Idea: what experiences have in common and what tells them apart are learned in places of their own. Which experience an
image belongs to is found by keys, learned beside the prefixes, that are compared with a frozen feature of the image.
Equations, with ``q = f(x)`` of the frozen model: keys and values ``G`` stand in front of those of the attention in
layers 0 and 1, ``E_t`` in layers 2 to 4, behind the projections. In training t is the experience, at test time
``argmax_t cos(q, K_t)``. ``L = CE(units of the experience's own classes) - lambda (1/B) sum_b cos(q_b, K_t)``.
Kept between experiences: G, all E and K, and the units, in the model. The backbone never changes, nor do E and K of
earlier experiences. E begins as that of the experience before, K uniform in -1 to 1. Rows on the plain way (``Route``)
are the pre-trained model's bit for bit.
Deviations: the toolbox reshapes the chosen prefixes without moving an axis, which mixes samples, keys and values; here
each row has its own. The way is found row by row; ``batchwise`` lets the batch vote, as the toolbox does by default. E
has the length of the paper, 20; the toolbox's configuration has 5. Keys and prefixes are made as experiences come.
Query and features go through the projection of CLIP's image tower. A tower with fewer layers has E in its last ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from mmcl.data.modality import IMAGE
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.models.heads import LinearHead
from mmcl.options import NonNegative, Rate, Width
from mmcl_strategies.parameter_efficient.expert_prefixes import ExpertPrefixes
from mmcl_strategies.parameter_efficient.own_classes import loss_over_own_classes
from mmcl_strategies.parameter_efficient.required_sites import required_attentions
from mmcl_strategies.routing.key_matching import KeyMatching

OWNER = "dualprompt"


@dataclass(kw_only=True, eq=False)
class DualPrompt(StrategyPlugin):
    """Trains general and expert prefixes in a frozen backbone, keys that find experts, and linear units."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.ROUTE, Slot.HEAD, Slot.OBJECTIVE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CLASSES, Need.IMAGE_ENCODER, Need.IMAGES_ALONE})
    order: ClassVar[Order] = "in turn"
    adapts: ClassVar[bool] = True
    grows: ClassVar[bool] = True

    general_length: Width = 5  # L_g, of the prefix that all experiences share
    expert_length: Width = 20  # L_e, of the prefix of each experience
    general_layers: Width = 2  # the first ones, which have the shared prefix
    expert_layers: Width = 3  # those behind them, which have that of the experience
    pull: NonNegative = 0.1  # lambda, of the term that draws the key of the experience to its queries
    batchwise: bool = False  # all images of a batch take the way that most of them would
    lr: Rate | None = 1e-3  # of prefixes, keys and units; None: that of the training settings

    _prefixes: list[ExpertPrefixes] = field(default_factory=list, init=False, repr=False)

    def terms(self) -> Terms:
        """The pull, if it has a weight."""
        return Terms(loss=("pull",) if self.pull else ())

    def adapt_model(self, learner: Learner) -> None:
        """Freeze the model; put prefixes, keys and linear units in place."""
        model, backbone = learner.model, learner.model.backbone
        for _, parameter in list(model.shared_parameters()):
            parameter.requires_grad_(False)
        places = required_attentions(backbone, IMAGE, OWNER)
        dtype = next(backbone.parameters()).dtype
        first = min(self.general_layers, len(places) - 1)
        for number, (site, attention) in enumerate(places[: first + self.expert_layers]):
            prefixes = ExpertPrefixes(
                attention,
                site.width,
                general=self.general_length if number < self.general_layers else 0,
                expert=self.expert_length if number >= first else 0,
                dtype=dtype,
            )
            model.attach(OWNER, site, prefixes)
            self._prefixes.append(prefixes)
        model.router = KeyMatching(backbone.towers[IMAGE].width, batchwise=self.batchwise, dtype=dtype)
        model.head = LinearHead(backbone.width)

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """Of experts and keys only those of this experience are trained."""
        _router(learner).train_only(learner.current.index)
        for prefixes in self._prefixes:
            prefixes.train_only(learner.current.index)

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """That of ``lr`` for all that is trained."""
        if self.lr is None:
            return ()
        parts = (*self._prefixes, _router(learner), learner.model.head)
        return [(parameter, self.lr) for part in parts for parameter in part.parameters()]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """The network is the one that is evaluated: nothing in it drops out or gathers statistics."""
        learner.model.backbone.eval()

    def objective(self, learner: Learner) -> Tensor:
        """Cross-entropy over the classes of each row's own experience."""
        return loss_over_own_classes(learner)

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """Minus the pull at the keys of the rows' ways."""
        route = learner.output.route
        if not self.pull or route is None or route.query is None or not bool(route.taken.any()):
            return {}
        return {"pull": -self.pull * _router(learner).pull(route.query[route.taken], route.ids[route.taken])}


def _router(learner: Learner) -> KeyMatching:
    assert isinstance(learner.model.router, KeyMatching)
    return learner.model.router
