"""TRIPLET: prompts for image, question and fusion encoders, each found by itself and tied together by small matrices.

Paper: Qian, Wang, Duan, Qin, Li and Zhu, "Decouple Before Interact: Multi-Modal Prompt Learning for Continual Visual
Question Answering", ICCV 2023. No code has been released: all is computed from the equations.
Idea: tasks may change in their images, in their questions, or in both. So each modality has prompts and keys of its own
and finds by itself which task it sees, while matrices say how the prompts of the fusion follow from the other two.
Equations, with ``Q^m`` the first token that the frozen encoder of modality m gives without prompts, m one of v, q, f:
tokens ``[first, G_k^m, E_{t,k}^m, input]``, slots that are filled anew in every layer k that has prompts of their kind.
``L_qm = - sum_b sum_m cos(u_t^m, Q_b^m)``; ``P^_k = W_k^v P_k^v + W_k^q P_k^q + W_k^vq (P_k^v * P_k^q)`` with
``W = U V^T`` of rank d; ``L_mod = - sum_k cos(P^_k, P_k^f)``; ``L_task = sum_{m,k} |W_{t,k}^m - W_{t-1,k}^m|_F^2``;
``L = CE(classifier of t on the fusion's first token) + 0.1 L_qm + 0.1 L_mod + 0.05 L_task``. At test time
``t^m = argmax_t cos(u_t^m, Q^m)`` chooses the prompts of each modality.
Kept between experiences: G, W, all E, u and classifiers, in the model, and the W of the experience before, in the
state. The backbone never changes, nor do E, u and classifiers of earlier experiences. Rows on the plain way (``Route``)
are the pre-trained model's bit for bit.
Deviations: none from the equations; weights and d are those of the paper for FLAVA. Ours, where the paper says nothing:
the fusion's match chooses the classifier; layers count from 0 and both ends of "0 to 2" and "2 to 5" belong to them, so
that layer 2 has prompts of both kinds; slots stay in the layers behind the last that fills them, and those of image and
question encoder enter the fusion; all prompts of a layer interact, as one long vector; ``L_task`` is absent in the
first experience, and W goes on from where it was; E begins as that of the experience before, u uniform in -1 to 1, all
else normal. Towers with fewer layers have prompts in those that all have.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import CompositionError
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.models.backbone import Backbone
from mmcl.models.sites import Site
from mmcl.options import Natural, NonNegative, Rate, Width
from mmcl_strategies.parameter_efficient.interaction import Matrix, agreement, change
from mmcl_strategies.parameter_efficient.layer_prompts import LayerPrompts
from mmcl_strategies.parameter_efficient.own_classes import loss_over_own_classes
from mmcl_strategies.parameter_efficient.required_sites import required_sites
from mmcl_strategies.parameter_efficient.task_classifiers import TaskClassifiers
from mmcl_strategies.routing.modality_matching import ModalityMatching

OWNER = "triplet"
FUSION_ENCODER = Need(
    "FUSION_ENCODER",
    what="a backbone with an encoder of image and text together",
    remedy="Choose one that has it beside those of image and text, such as flava.",
    met=lambda around: around.has_tower(IMAGE, TEXT),
)
QUESTIONS = Need(
    "QUESTIONS",
    what="samples that all have an image and a text",
    remedy="Choose a benchmark of questions about images.",
    met=lambda around: (
        False if around.scenario is not None and around.scenario.modalities_change else around.shows(IMAGE, TEXT)
    ),
)


@dataclass
class Earlier:
    """What is compared with: the factors of the matrices at the end of the experience before, layer by layer."""

    u: list[Tensor] = field(default_factory=list)  # [3, W, d] each
    v: list[Tensor] = field(default_factory=list)


@dataclass(kw_only=True, eq=False)
class Triplet(StrategyPlugin):
    """Trains prompts in three frozen encoders, keys that find them, matrices between them, and linear classifiers."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.ROUTE, Slot.HEAD, Slot.OBJECTIVE})
    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.CLASSES, Need.IMAGE_ENCODER, Need.TEXT_ENCODER, FUSION_ENCODER, QUESTIONS}
    )
    order: ClassVar[Order] = "in turn"
    adapts: ClassVar[bool] = True
    grows: ClassVar[bool] = True

    general_length: Width = 5  # of the prompts that all experiences share
    expert_length: Width = 20  # of the prompts of each experience
    general_layers: Width = 3  # the first ones, which fill the shared slots
    expert_start: Natural = 2  # the first layer that fills the slots of the experience, from 0
    expert_layers: Width = 4  # how many do
    rank: Width = 10  # d, of the matrices between prompts
    matching: NonNegative = 0.1  # of L_qm, which draws keys to queries
    interaction: NonNegative = 0.1  # of L_mod, by which prompts of the fusion follow from the others
    stability: NonNegative = 0.05  # of L_task, which holds the matrices where they were
    lr: Rate | None = 4e-4  # of all that is trained; None: that of the training settings

    state: Earlier = field(default_factory=Earlier, init=False, repr=False)
    _prompts: list[tuple[LayerPrompts, ...]] = field(default_factory=list, init=False, repr=False)

    def terms(self) -> Terms:
        """Those that have a weight."""
        weights = {"matching": self.matching, "interaction": self.interaction, "stability": self.stability}
        return Terms(loss=tuple(name for name, weight in weights.items() if weight))

    def adapt_model(self, learner: Learner) -> None:
        """Freeze the model; put prompts, keys, matrices and classifiers in place.

        Raises:
            CompositionError: if the towers show no places for prompts, or are of different widths inside.
        """
        model, backbone = learner.model, learner.model.backbone
        for _, parameter in list(model.shared_parameters()):
            parameter.requires_grad_(False)
        fusion = next(name for name, tower in backbone.towers.items() if tower.reads == {IMAGE, TEXT})
        towers, dtype = (IMAGE, TEXT, fusion), next(backbone.parameters()).dtype
        layers = list(zip(*(_entrances(backbone, tower) for tower in towers), strict=False))
        width = _width(layers[0], towers)
        matrices = nn.ModuleList()
        for general, expert, standing, sites in self._planned(layers):
            prompts = tuple(
                LayerPrompts(width, part, general=general, expert=expert, standing=standing, dtype=dtype)
                for part in range(len(sites))
            )
            for site, of_tower in zip(sites, prompts, strict=True):
                model.attach(OWNER, site, of_tower)
            self._prompts.append(prompts)
            matrices.append(Matrix(width, self.rank, dtype))
        model.parts[OWNER] = matrices
        model.router = ModalityMatching(towers, width, dtype=dtype)
        model.head = TaskClassifiers(backbone.towers[fusion].width, fusion, dtype=dtype)

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """Of prompts of experiences, keys and classifiers only those of this experience are trained."""
        _router(learner).train_only(learner.current.index)
        _head(learner).train_only(learner.current.index)
        for prompts in self._every_prompts:
            prompts.train_only(learner.current.index)

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """That of ``lr`` for all that is trained."""
        if self.lr is None:
            return ()
        parts = (*self._every_prompts, *_matrices(learner), _router(learner), learner.model.head)
        return [(parameter, self.lr) for part in parts for parameter in part.parameters()]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """The network is the one that is evaluated: nothing in it drops out or gathers statistics."""
        learner.model.backbone.eval()

    def objective(self, learner: Learner) -> Tensor:
        """Cross-entropy over the classes of each row's own experience."""
        return loss_over_own_classes(learner)

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """The three terms with their weights; no stability before there is an earlier experience."""
        terms, route = {}, learner.output.route
        if self.matching and route is not None and bool(route.taken.any()):
            terms["matching"] = -self.matching * _router(learner).matching(route)
        if self.interaction:
            terms["interaction"] = -self.interaction * self._agreements(learner)
        if self.stability and self.state.u:
            earlier = zip(_matrices(learner), self.state.u, self.state.v, strict=True)
            changes = [change(matrix.whole, u @ v.mT) for matrix, u, v in earlier]
            terms["stability"] = self.stability * torch.stack(changes).sum()
        return terms

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Remember the matrices, which the next experience is to leave where they are."""
        matrices = _matrices(learner)
        self.state.u = [matrix.u.detach().clone() for matrix in matrices]
        self.state.v = [matrix.v.detach().clone() for matrix in matrices]

    def _planned(self, layers: list[tuple[Site, ...]]) -> Iterator[tuple[int, int, tuple[int, int], tuple[Site, ...]]]:
        """Of each layer with prompts: lengths of general and expert ones, slots that stand there, and its sites."""
        start = min(self.expert_start, len(layers) - 1)
        standing = (0, 0)
        for number, sites in enumerate(layers):
            general = self.general_length if number < self.general_layers else 0
            expert = self.expert_length if start <= number < start + self.expert_layers else 0
            if general or expert:
                yield general, expert, standing, sites
            standing = (general or standing[0], expert or standing[1])

    def _agreements(self, learner: Learner) -> Tensor:
        now, found = learner.current.index, []
        for matrix, prompts in zip(_matrices(learner), self._prompts, strict=True):
            image, question, fusion = (of_tower.of(now) for of_tower in prompts)
            found.append(agreement(matrix(image, question), fusion))
        return torch.stack(found).sum()

    @property
    def _every_prompts(self) -> list[LayerPrompts]:
        return [of_tower for prompts in self._prompts for of_tower in prompts]


def _entrances(backbone: Backbone, tower: str) -> list[Site]:
    """Where the sequence enters each layer of a tower."""
    tokens, blocks = (required_sites(backbone, tower, kind, OWNER) for kind in ("tokens", "block"))
    return [tokens[0], *blocks[:-1]]


def _width(sites: tuple[Site, ...], towers: tuple[str, ...]) -> int:
    widths = {tower: site.width for tower, site in zip(towers, sites, strict=True)}
    if len(set(widths.values())) > 1:
        raise CompositionError(
            f"strategy {OWNER!r}",
            found="tokens of the widths " + ", ".join(f"{width} ({tower})" for tower, width in widths.items()),
            allowed="encoders of one width: their prompts are compared",
            remedy="Choose a backbone such as flava.",
        )
    return sites[0].width


def _router(learner: Learner) -> ModalityMatching:
    assert isinstance(learner.model.router, ModalityMatching)
    return learner.model.router


def _head(learner: Learner) -> TaskClassifiers:
    assert isinstance(learner.model.head, TaskClassifiers)
    return learner.model.head


def _matrices(learner: Learner) -> list[Matrix]:
    return [matrix for matrix in learner.model.parts[OWNER].children() if isinstance(matrix, Matrix)]
