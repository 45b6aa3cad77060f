"""LoRA: low-rank additions to the linear layers of a frozen backbone, for every experience, one after the other or one.

Paper: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022; the additions are peft's.
Idea: what fine-tuning changes in a weight has a low rank. A product of two small matrices is trained in its place, and
what is pre-trained stays as it is.
Equation: ``W' x = W x + (alpha / r) B A dropout(x)``, with A of r rows, drawn, and B of r columns, 0 at first.
Computation: at both linear layers of every MLP, in every tower. ``adapters="own"``: every experience has A and B of its
own; rows take the way (``Route``) of theirs, and rows on the plain way have the pre-trained model's scores bit for bit.
Where the task id is hidden, a strategy of its own finds the way, such as ``ddas``. ``"merged"``: after an experience
``(alpha / r) B A`` is added to W, and the next one begins with B = 0. ``"shared"``: one A and B learn all experiences.
Kept between experiences: A and B in the model; with ``merged`` W.
Deviations: the paper adapts queries and values of attention, which are left out: open_clip has them in one parameter of
``nn.MultiheadAttention``. peft wraps it since 0.15, for batches that take one way, and in every pass adds to the frozen
weights and subtracts again, which moves them by roundings. What is adapted keeps its class and its names.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

from torch import nn

from mmcl.errors import CompositionError
from mmcl.learning.compose import Need
from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.options import PartialShare, Positive, Rate, Width
from mmcl_strategies.parameter_efficient.low_rank import LowRank, LowRankShape
from mmcl_strategies.parameter_efficient.required_sites import required_sites
from mmcl_strategies.routing.latest import Latest

OWNER = "lora"


@dataclass(kw_only=True, eq=False)
class LoRA(StrategyPlugin):
    """Trains low-rank additions to the MLPs of a frozen backbone."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.WAY})
    adapts: ClassVar[bool] = True

    adapters: Literal["own", "merged", "shared"] = "own"  # of each experience, merged into the weights, or of all
    rank: Width = 8  # r
    alpha: Positive = 8.0  # alpha / r multiplies what is added
    dropout: PartialShare = 0.0  # of what enters A
    lr: Rate | None = 1e-3  # of A and B; None: the training settings'

    _adapted: list[tuple[nn.Linear, LowRank]] = field(default_factory=list, init=False, repr=False)

    @property
    def grows(self) -> bool:
        """With adapters for each experience."""
        return self.adapters == "own"

    @property
    def rewrites_weights(self) -> bool:
        """Where adapters are added to the weights."""
        return self.adapters == "merged"

    def requirements(self) -> frozenset[Need]:
        """Where one adapter serves all, nobody has to find the way."""
        return self.needs if self.adapters == "own" else self.needs - {Need.WAY}

    def adapt_model(self, learner: Learner) -> None:
        """Freeze what is pre-trained and put adapters at what the user has not frozen."""
        model = learner.model
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        frozen = {id_ for id_, name in names.items() if any(fnmatchcase(name, p) for p in learner.config.freeze)}
        shape = LowRankShape(
            rank=self.rank,
            alpha=self.alpha,
            dropout=self.dropout,
            own=self.adapters == "own",
            afresh=self.adapters == "merged",
        )
        towers = list(model.backbone.towers)
        sites = [site for tower in towers for site in model.backbone.sites_of(tower, "linear")]
        for site in sites or required_sites(model.backbone, towers[0], "linear", OWNER):
            layer = site.exit
            assert isinstance(layer, nn.Linear)
            if id(layer.weight) not in frozen:
                adapter = LowRank(layer, shape)
                model.attach(OWNER, site, adapter)
                self._adapted.append((layer, adapter))
        if not self._adapted:
            raise CompositionError(
                f"strategy {OWNER!r}",
                found=f"all {len(sites)} layers that it could adapt are frozen",
                allowed="settings that leave some of them free",
                remedy="Freeze less: adapters do not change what is pre-trained.",
            )
        for _, parameter in list(model.shared_parameters()):
            parameter.requires_grad_(False)
        if model.router is None:
            model.router = Latest()

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """Train the adapters of the experience, before the optimiser is made."""
        for adapter in self._additions:
            adapter.train_only(learner.current.index)

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """That of ``lr`` for all that is added."""
        if self.lr is None:
            return ()
        return [(parameter, self.lr) for adapter in self._additions for parameter in adapter.parameters()]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """What is frozen is in evaluation mode, statistics of norms included."""
        learner.model.backbone.eval()
        for adapter in self._additions:
            adapter.train()

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Add the adapters to the weights, if they are to be merged."""
        if self.adapters != "merged":
            return
        changed = {id(layer.weight) for layer, _ in self._adapted}
        for layer, adapter in self._adapted:
            adapter.merge_into(layer)
        # frozen as they are, they are no longer those that a configuration names
        learner.untouched -= {name for name, weight in learner.model.named_parameters() if id(weight) in changed}

    @property
    def _additions(self) -> list[LowRank]:
        return [adapter for _, adapter in self._adapted]
