"""Fwd-Prompt: prompts that move where earlier tasks are not and the pre-trained model is at home; a reconstruction.

Paper: Zheng, Ma, Liu, Wu and Feng, "Beyond Anti-Forgetting: Multimodal Continual Instruction Tuning with Positive
Forward Transfer", arXiv 2401.09181, 2024. There is no public code, and we know no more of it than the abstract and what
others say: that the input embeddings of tasks span different subspaces, that the gradients of prompts are projected to
the residual space of earlier tasks and to the pre-trained one, and that prompts come from a pool whose entries have an
image key, a text key and a value. **All formulas below are ours**, after methods that project gradients.
Idea: what is learned in directions that earlier tasks do not use cannot disturb them, and what is learned in directions
that the pre-trained model knows can build on it.
Equations: ``X [n, D]`` are input embeddings, rows as they are. ``V``: the fewest leading right singular vectors of X_0,
of reference data, with a share of its energy. ``sim_j = cos(q_img, k_img_j) + cos(q_txt, k_txt_j)`` with q of frozen
encoders; the k best values stand in front of the input, the best first. Every change ``d`` that the optimiser makes to
the values becomes ``d' = (d V V^T)(I - Q Q^T)``, so that ``d' Q = 0``. After a task, with ``X' = X (I - Q Q^T)``, Q
gets the fewest right singular vectors of X' with ``||X Q||^2 + sum s_i^2 >= share ||X||^2``.
``L = task loss - lambda (1/B) sum_b sum_{j chosen} sim_j``.
Kept between experiences: pool and keys, in the model; V and Q, which grows to D columns at most. CLIP never changes.
Rows on the plain way (``Route``) are the pre-trained model's bit for bit.
Deviations: the trunk that is prompted is CLIP's image tower, at its tokens behind the class token, where the paper has
a language model; the text of a sample, such as a question, is its second query, and samples without one choose by their
image alone. The head is that of the model. Keys are not projected: they meet no embedding.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.reference import ReferenceData
from mmcl.data.route import Route
from mmcl.data.sample import SampleDataset
from mmcl.data.subset import Subset
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.models.sites import Site
from mmcl.options import Count, NonNegative, PartialShare, Rate, Width, check_options
from mmcl_strategies.maths.subspaces import Basis, extended, inside, moment, outside
from mmcl_strategies.parameter_efficient.bimodal_pool import BimodalPool
from mmcl_strategies.parameter_efficient.prompts import behind_class_token
from mmcl_strategies.parameter_efficient.required_sites import required_sites
from mmcl_strategies.routing.queries import Queries
from mmcl_strategies.shared.reference import reference_for

OWNER = "fwd_prompt"
TRUNK = IMAGE  # the tower that is prompted


@dataclass
class FwdPromptState:
    """What the directions of updates are chosen by.

    Attributes:
        pretrained: V, ``[D, k]``; ``None`` before it is found, or if nobody asks for it.
        memory: Q, ``[D, m]``, of all experiences that have been learned.
    """

    pretrained: Tensor | None = None
    memory: Tensor | None = None


@dataclass(kw_only=True, eq=False)
class FwdPrompt(StrategyPlugin):
    """Trains a pool of prompts with two keys each, and projects every update of them."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.ROUTE})
    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.CLASSES, Need.IMAGE_ENCODER, Need.TEXT_ENCODER, Need.REFERENCE_DATA}
    )
    order: ClassVar[Order] = "in turn"
    adapts: ClassVar[bool] = True

    size: Width = 10  # M, entries of the pool
    length: Width = 10  # l, vectors of a value
    top_k: Count = 2  # k, values of a sample
    pull: NonNegative = 0.1  # lambda, of the term that draws keys to the queries that chose them
    projection: Literal["both", "residual", "pretrained"] = "both"  # what is left of an update
    energy: PartialShare = 0.95  # of the embeddings of each experience that memory holds
    pretrained_energy: PartialShare = 0.95  # of the reference embeddings that the pre-trained subspace holds
    samples: Width = 1000  # at most, of reference data and of an experience, whose embeddings are looked at
    lr: Rate | None = 1e-3  # of pool and keys; None: that of the training settings
    reference: str | None = None  # folder with images/ and captions.txt; None: the benchmark's reference data

    state: FwdPromptState = field(default_factory=FwdPromptState, init=False, repr=False)

    _pool: list[BimodalPool] = field(default_factory=list, init=False, repr=False)
    _before: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the options, and that no more values are chosen than there are."""
        check_options(self, OWNER)
        if self.top_k > self.size:
            raise ConfigError(
                f"{OWNER}.top_k",
                found=f"{self.top_k}, and there are {self.size} entries",
                allowed=f"1 to {self.size}",
                remedy=f"Lower it, or raise {OWNER}:size.",
            )

    def requirements(self) -> frozenset[Need]:
        """Reference data only where there is a pre-trained subspace, and the strategy names none."""
        own = self.reference is not None or self.projection == "residual"
        return self.needs - {Need.REFERENCE_DATA} if own else self.needs

    def reference_data(self) -> ReferenceData | None:
        """Those of the folder ``reference``."""
        return None if self.reference is None else ReferenceData.from_folder(Path(self.reference))

    def terms(self) -> Terms:
        """The pull, if it has a weight."""
        return Terms(loss=("pull",) if self.pull else ())

    def adapt_model(self, learner: Learner) -> None:
        """Freeze the model; put pool and queries in place."""
        model, backbone = learner.model, learner.model.backbone
        for _, parameter in list(model.shared_parameters()):
            parameter.requires_grad_(False)
        site = _site(learner)
        pool = BimodalPool(
            self.size,
            self.length,
            site.width,
            image=backbone.towers[IMAGE].width,
            text=backbone.towers[TEXT].width,
            top_k=self.top_k,
            place=behind_class_token,
            dtype=next(backbone.parameters()).dtype,
        )
        model.attach(OWNER, site, pool)
        model.router = Queries(beside=(TEXT,))
        self._pool.append(pool)

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """Refuse pairs: an image would choose its prompts by the very caption that is to be found.

        Raises:
            CompositionError: if the experience has no classes.
        """
        if not len(learner.current.label_space):
            raise CompositionError(
                f"strategy {OWNER!r}",
                found=f"the experience {learner.current.name!r} has no classes",
                allowed="samples whose text, if they have one, is not what is asked for",
                remedy="Choose a benchmark of classes.",
            )

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """That of ``lr`` for all that is trained."""
        return () if self.lr is None else [(p, self.lr) for pool in self._pool for p in pool.parameters()]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """The pre-trained subspace comes before all experiences. The network is the one that is evaluated."""
        if self.projection != "residual" and self.state.pretrained is None:
            images = reference_for(self, OWNER, learner).images
            energies = self._moment(learner, images, "fwd_prompt reference")
            self.state.pretrained = extended(_nothing(energies), energies, self.pretrained_energy)
        learner.model.backbone.eval()

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """Minus the pull, of the rows that have prompts."""
        route = learner.output.route
        if not self.pull or route is None or route.query is None or not bool(route.taken.any()):
            return {}
        (pool,) = self._pool
        return {"pull": -self.pull * pool.pull(route.query[route.taken])}

    def before_update(self, learner: Learner, **_: object) -> None:
        """Values before the optimiser moves them."""
        (pool,) = self._pool
        self._before = pool.prompts.detach().clone()

    @torch.no_grad()
    def after_update(self, learner: Learner, **_: object) -> None:
        """What the optimiser has done is projected, its moments and its decay included."""
        (pool,) = self._pool
        assert self._before is not None
        change = pool.prompts.double() - self._before.double()
        if self.projection != "residual":
            assert self.state.pretrained is not None
            change = inside(change, self.state.pretrained)
        if self.projection != "pretrained" and self.state.memory is not None:
            change = outside(change, self.state.memory)
        pool.prompts.copy_(self._before.double() + change)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Memory gets the directions of this experience."""
        self._before = None
        if self.projection != "pretrained":
            energies = self._moment(learner, learner.current.samples, "fwd_prompt")
            memory = _nothing(energies) if self.state.memory is None else self.state.memory
            self.state.memory = extended(memory, energies, self.energy)

    @torch.no_grad()
    def _moment(self, learner: Learner, samples: SampleDataset, name: str) -> Tensor:
        """``[D, D]`` of the input embeddings of some samples, in evaluation mode and without prompts."""
        chosen = torch.randperm(len(samples), generator=learner.generator(name))[: self.samples]
        site = _site(learner)
        total = torch.zeros(site.width, site.width, dtype=torch.float64, device=learner.device)

        def read(module: nn.Module, arguments: object, embeddings: Tensor) -> None:
            total.add_(moment(embeddings))

        hook = site.exit.register_forward_hook(read)
        try:
            with auxiliary_pass(learner.model):
                for batch in learner.one_pass(Subset(samples, chosen.tolist())):
                    rows = batch.inputs.having(TRUNK)
                    if rows is not None:
                        learner.encode(rows.replace(route=Route.plain(rows.batch_size, learner.device)))
        finally:
            hook.remove()
        return total


def _site(learner: Learner) -> Site:
    return required_sites(learner.model.backbone, TRUNK, "tokens", OWNER)[0]


def _nothing(energies: Tensor) -> Basis:
    """A basis without a direction."""
    return energies.new_empty(len(energies), 0)
