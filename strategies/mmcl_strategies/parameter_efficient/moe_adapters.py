"""MoE-Adapters: a pool of small experts beside the MLP of every block of a frozen CLIP, and a gate per experience.

Paper: Yu et al., "Boosting Continual Learning of Vision-Language Models via Mixture-of-Experts Adapters", CVPR 2024;
the released code (``mtil`` tree) decides where it differs from the paper.
Idea: nothing pre-trained changes. An experience learns which two experts of each block act on a sample, and the experts
themselves; then those used most are frozen, so that its computation stays while later experiences may still use them.
Equations, with u what enters the MLP's layer norm, r its first token, G and N the experience's gate and eps normal:
``h = r G``, in training ``h + eps (softplus(r N) + 0.01)``; g = softmax over the k largest;
``x' = u + MLP(LN(u)) + sum_e g_e scale (U_e dropout(relu(D_e u + d_e)) + u_e)``, in every tower, for all tokens.
After an experience the ``freeze`` experts of each block with the most rows join those that are frozen.
Kept between experiences: experts, gates and the set of frozen experts, in the model.
Rows on the plain way (``Route``) pass by all experts: their scores are the pre-trained model's bit for bit. Where the
task id is hidden, a strategy of its own finds the way, such as ``ddas``.
Deviations: an expert that no row of a step has gets a zero gradient, as under the authors' two-device scripts
(``idle="decay"``); on one device their code skips it (``idle="skip"``). Gates are made as experiences come, not eleven
in advance. There is no noise at evaluation; the class-incremental tree of the code leaves it on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.compose import Need
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.options import Count, Natural, NonNegative, PartialShare, Positive, Rate, Width, check_options
from mmcl_strategies.parameter_efficient.draws import Draws
from mmcl_strategies.parameter_efficient.experts import Mixture, MixtureShape
from mmcl_strategies.routing.latest import Latest

OWNER = "moe_adapters"


@dataclass(kw_only=True, eq=False)
class MoEAdapters(StrategyPlugin):
    """Trains experts and gates beside the MLPs of a frozen CLIP."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.WAY})
    adapts: ClassVar[bool] = True

    experts: Count = 22  # E, of every block; the authors' class-incremental runs have 2
    top_k: Count = 2  # experts that act on a row
    freeze: Natural = 2  # experts of every block that are frozen after an experience; 0 in class-incremental runs
    gates: Literal["own", "shared"] = "own"  # a gate for each experience, or one for all as in class-incremental runs
    bottleneck: Width = 64  # r, hidden units of an expert
    scale: Positive = 0.1  # of what experts give
    dropout: PartialShare = 0.1  # of their hidden units
    noise_floor: NonNegative = 0.01  # least standard deviation of the noise of a logit
    balance: NonNegative = 0.0  # weight of the balance term, which the authors' code computes and leaves out
    idle: Literal["decay", "skip"] = "decay"  # an expert without a row in a step: a zero gradient, or none
    lr: Rate | None = 1e-3  # of experts and gates; None: the training settings'

    _mixtures: list[Mixture] = field(default_factory=list, init=False, repr=False)
    _counted: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the options, and that no more experts are chosen than there are."""
        check_options(self, OWNER)
        for name, value in (("top_k", self.top_k), ("freeze", self.freeze)):
            if value > self.experts:
                raise ConfigError(
                    f"{OWNER}.{name}",
                    found=f"{value}, and there are {self.experts} experts",
                    allowed=f"at most {self.experts}",
                    remedy=f"Lower it, or raise {OWNER}:experts.",
                )

    @property
    def grows(self) -> bool:
        """With a gate for each experience."""
        return self.gates == "own"

    def requirements(self) -> frozenset[Need]:
        """Where one gate serves all, nobody has to find the way."""
        return self.needs if self.gates == "own" else self.needs - {Need.WAY}

    def terms(self) -> Terms:
        """The balance, if it has a weight."""
        return Terms(loss=("balance",) if self.balance else ())

    def miniature(self) -> "MoEAdapters":
        """A few small experts."""
        return replace(self, experts=4, bottleneck=4, top_k=min(self.top_k, 2), freeze=min(self.freeze, 1), lr=1e-2)

    def adapt_model(self, learner: Learner) -> None:
        """Freeze what is pre-trained and put a mixture beside every MLP."""
        model = learner.model
        for _, parameter in model.shared_parameters():
            parameter.requires_grad_(False)
        shape = MixtureShape(
            experts=self.experts,
            top_k=self.top_k,
            bottleneck=self.bottleneck,
            scale=self.scale,
            dropout=self.dropout,
            noise_floor=self.noise_floor,
            shared_gate=self.gates == "shared",
        )
        for tower in model.backbone.towers:
            sites = model.backbone.sites_of(tower, "mlp")
            if not sites:
                raise CompositionError(
                    f"strategy {OWNER!r}",
                    found=f"the backbone's tower {tower!r} shows no MLPs",
                    allowed="backbones with sites of kind 'mlp', such as those of open_clip's transformers",
                    remedy="Choose one of them.",
                )
            for site in sites:
                mixture = Mixture(site.width, shape, keeps_balance=self.balance > 0)
                model.attach(OWNER, site, mixture)
                self._mixtures.append(mixture)
        if model.router is None:
            model.router = Latest()

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """Count from zero and train what is not frozen, before the optimiser is made."""
        for mixture in self._mixtures:
            mixture.begin(learner.current.index)

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """That of ``lr`` for all that is added."""
        if self.lr is None:
            return ()
        return [(parameter, self.lr) for mixture in self._mixtures for parameter in mixture.parameters()]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Noise and dropout of the experience; what is frozen is in evaluation mode, statistics of norms included."""
        draws = Draws(learner.generator(OWNER))
        learner.model.backbone.eval()
        for mixture in self._mixtures:
            mixture.train().draws = draws

    def before_forward(self, learner: Learner, **_: object) -> None:
        """What this step counts begins here."""
        self._counted = [mixture.counts.clone() for mixture in self._mixtures] if self.idle == "skip" else []
        for mixture in self._mixtures:
            mixture.balancing.clear()

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """The balance of all blocks."""
        if not self.balance:
            return {}
        terms = [term for mixture in self._mixtures for term in mixture.balancing]
        return {"balance": self.balance * torch.stack(terms).sum()}

    def after_backward(self, learner: Learner, **_: object) -> None:
        """Experts without a row in this step have no gradient, if they are to be skipped."""
        for mixture, before in zip(self._mixtures, self._counted, strict=False):
            for expert, idle in zip(mixture.experts, (mixture.counts == before).tolist(), strict=True):
                if idle:
                    expert.zero_grad(set_to_none=True)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Freeze the experts that were used most."""
        for mixture in self._mixtures:
            mixture.end(self.freeze)
