"""L2P: a pool of prompts that all experiences share; a frozen image feature chooses those that its image gets.

Paper: Wang, Zhang, Lee, Zhang, Sun, Ren, Su, Perot, Dy and Pfister, "Learning to Prompt for Continual Learning", CVPR
2022; computed as in the toolbox LAMDA-PILOT.
Idea: the pre-trained network stays as it is, and what is learned is instructions to it. Similar images of different
experiences share some of them, and nobody has to tell which experience an image belongs to.
Equations: ``q = f(x)`` without prompts; ``S(x)`` the k keys with the largest ``cos(q, K_j)``; tokens ``[class, P_j for
j in S(x), patches]``; ``h`` the mean of the outputs at the prompts, behind the last norm; linear units on it.
``L = CE(units of the experience's own classes) - lambda (1/B) sum_b sum_{j in S(x_b)} cos(q_b, K_j)``.
Kept between experiences: the pool, its keys and the units, in the model. The backbone never changes.
Keys learn by the second term alone and prompts by the first: choosing has no gradient, and neither has the query. Rows
on the plain way (``Route``) are the pre-trained model's bit for bit.
Deviations: the authors add the class token's position to every prompt, which a free vector absorbs; here prompts have
none. Query and ``h`` go through the projection of CLIP's image tower, as its features do. Prompts are chosen row by
row; ``batchwise`` gives all rows of a batch those that most of them ask for, as the toolboxes do by default, which
shows a row what else is in its batch. In a batch with samples of earlier experiences each row has its own classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from mmcl.data.modality import IMAGE
from mmcl.errors import ConfigError
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.models.heads import LinearHead
from mmcl.options import Count, NonNegative, Rate, Width, check_options
from mmcl_strategies.parameter_efficient.own_classes import loss_over_own_classes
from mmcl_strategies.parameter_efficient.prompt_pool import PromptOutputs, PromptPool
from mmcl_strategies.parameter_efficient.required_sites import required_sites
from mmcl_strategies.routing.queries import Queries

OWNER = "l2p"


@dataclass(kw_only=True, eq=False)
class L2P(StrategyPlugin):
    """Trains a pool of image prompts in front of a frozen backbone, and linear units behind it."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.ROUTE, Slot.HEAD, Slot.OBJECTIVE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CLASSES, Need.IMAGE_ENCODER, Need.IMAGES_ALONE})
    order: ClassVar[Order] = "in turn"
    adapts: ClassVar[bool] = True
    grows: ClassVar[bool] = True  # a unit for each class

    size: Width = 10  # M, prompts in the pool
    length: Width = 5  # L_p, vectors of a prompt
    top_k: Count = 5  # N, prompts of an image
    pull: NonNegative = 0.1  # lambda, of the term that draws keys to the queries that chose them
    batchwise: bool = False  # all images of a batch get the prompts that most of them ask for
    lr: Rate | None = 0.0075  # of prompts, keys and units: 0.03 B / 256 at B = 64; None: that of the training settings

    _pool: list[PromptPool] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the options, and that no more prompts are chosen than there are."""
        check_options(self, OWNER)
        if self.top_k > self.size:
            raise ConfigError(
                f"{OWNER}.top_k",
                found=f"{self.top_k}, and there are {self.size} prompts",
                allowed=f"1 to {self.size}",
                remedy=f"Lower it, or raise {OWNER}:size.",
            )

    def terms(self) -> Terms:
        """The pull, if it has a weight."""
        return Terms(loss=("pull",) if self.pull else ())

    def adapt_model(self, learner: Learner) -> None:
        """Freeze the model; put pool, queries and linear units in place."""
        model, backbone = learner.model, learner.model.backbone
        for _, parameter in list(model.shared_parameters()):
            parameter.requires_grad_(False)
        tokens, outputs = (required_sites(backbone, IMAGE, kind, OWNER)[0] for kind in ("tokens", "outputs"))
        pool = PromptPool(
            self.size,
            self.length,
            tokens.width,
            backbone.towers[IMAGE].width,
            top_k=self.top_k,
            batchwise=self.batchwise,
            dtype=next(backbone.parameters()).dtype,
        )
        model.attach(OWNER, tokens, pool)
        model.attach(OWNER, outputs, PromptOutputs(self.top_k * self.length))
        model.router = Queries("batch" if self.batchwise else "stream")
        model.head = LinearHead(backbone.width)
        self._pool.append(pool)

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """That of ``lr`` for all that is trained."""
        if self.lr is None:
            return ()
        return [(parameter, self.lr) for part in (*self._pool, learner.model.head) for parameter in part.parameters()]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """The network is the one that is evaluated: nothing in it drops out or gathers statistics."""
        learner.model.backbone.eval()

    def objective(self, learner: Learner) -> Tensor:
        """Cross-entropy over the classes of each row's own experience."""
        return loss_over_own_classes(learner)

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """Minus the pull, of the rows that have prompts."""
        route = learner.output.route
        if not self.pull or route is None or route.query is None or not bool(route.taken.any()):
            return {}
        (pool,) = self._pool
        return {"pull": -self.pull * pool.pull(route.query[route.taken])}
