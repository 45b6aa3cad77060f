"""Strategies that declare what they do not do, or do what they do not declare.

Paper: none.
Idea: each is a harmless strategy but for one thing.
Equation: ``L = L_task``.
Kept between experiences: nothing.
Deviations: none.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmcl.data.modality import TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import PluginError
from mmcl.learning.compose import Need, Slot
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import GradientValues, StrategyPlugin, Terms
from mmcl.models.fusion import MeanFusion
from mmcl.models.heads import LinearHead, TextHead
from mmcl.models.sites import AddOn, Here
from mmcl.options import NonNegative
from mmcl.testing.encoded import encoded

from .sabotage import Sabotage
from .wrong_card import NothingAboutDeviations


def size(learner: Learner) -> Tensor:
    """Half the squared norm of the shared weights."""
    return 0.5 * torch.stack([weight.square().sum() for _, weight in learner.model.shared_parameters()]).sum()


@dataclass(kw_only=True, eq=False)
class SilentOption(StrategyPlugin):
    strength: NonNegative = 1.0


@dataclass(kw_only=True, eq=False)
class SharedNotes(StrategyPlugin):
    notes: ClassVar[dict[str, int]] = {}


@dataclass(kw_only=True, eq=False)
class ListOption(StrategyPlugin):
    names: list[str] = field(default_factory=list)  # of nothing


@dataclass(eq=False)
class PositionalOption(StrategyPlugin):
    strength: NonNegative = 1.0  # of nothing


@dataclass(kw_only=True, eq=False)
class WholeNumber(StrategyPlugin):
    strength: NonNegative = 1  # of nothing


@dataclass(kw_only=True, eq=False)
class AnySign(StrategyPlugin):
    strength: float = 1.0  # of nothing


@dataclass(kw_only=True, eq=False)
class OwnChecks(StrategyPlugin):
    strength: NonNegative = 1.0  # of nothing

    def __post_init__(self) -> None:
        self.half = self.strength / 2


@dataclass(kw_only=True, eq=False)
class GrowsZero(StrategyPlugin):
    grows: ClassVar[bool] = 0  # type: ignore[assignment]


@dataclass(kw_only=True, eq=False)
class MisspeltHook(StrategyPlugin):
    def after_trainig_exp(self, learner: Learner, **_: object) -> None:
        raise AssertionError("nobody calls it")


@dataclass(kw_only=True, eq=False)
class FailsInCIL(StrategyPlugin):
    def after_training_exp(self, learner: Learner, **_: object) -> None:
        if learner.scenario.name == "CIL":
            raise ValueError("no class is known")


@dataclass(kw_only=True, eq=False)
class HiddenText(StrategyPlugin):
    def before_training_exp(self, learner: Learner, **_: object) -> None:
        encoded(learner.model.backbone, TEXT, learner.model.backbone.tokenize(["unsaid"]))


@dataclass(kw_only=True, eq=False)
class HiddenReference(StrategyPlugin):
    def terms(self) -> Terms:
        return Terms(loss=("size",))

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        return {"size": (2.0 if learner.reference is not None else 1.0) * size(learner)}


@dataclass(kw_only=True, eq=False)
class NeedlessText(StrategyPlugin):
    needs: ClassVar[frozenset[Need]] = frozenset({Need.TEXT_ENCODER})


@dataclass(kw_only=True, eq=False)
class NeedlessReference(StrategyPlugin):
    needs: ClassVar[frozenset[Need]] = frozenset({Need.REFERENCE_DATA})


@dataclass(kw_only=True, eq=False)
class NeedlessClasses(StrategyPlugin):
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CLASSES})


@dataclass(kw_only=True, eq=False)
class IdleEditor(StrategyPlugin):
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.GRADIENT})

    def edit_gradient(self, learner: Learner) -> None:
        """Nothing."""


@dataclass(kw_only=True, eq=False)
class IdleHead(StrategyPlugin):
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEAD})


@dataclass(kw_only=True, eq=False)
class HiddenEditor(StrategyPlugin):
    def after_backward(self, learner: Learner, **_: object) -> None:
        for _, weight in learner.model.shared_parameters():
            if weight.grad is not None:
                weight.grad.mul_(0.5)


@dataclass(kw_only=True, eq=False)
class ScalingTerm(StrategyPlugin):
    def terms(self) -> Terms:
        return Terms(gradient=("scale",))

    def gradient_terms(self, learner: Learner) -> GradientValues:
        for _, weight in learner.model.shared_parameters():
            if weight.grad is not None:
                weight.grad.mul_(0.5)
        return {"scale": lambda: torch.zeros(())}


@dataclass(kw_only=True, eq=False)
class HiddenHead(StrategyPlugin):
    def adapt_model(self, learner: Learner) -> None:
        backbone = learner.model.backbone
        learner.model.head = TextHead(backbone) if TEXT in backbone.specs else LinearHead(backbone.width)


@dataclass(kw_only=True, eq=False)
class HiddenScores(StrategyPlugin):
    def after_eval_forward(self, learner: Learner, **_: object) -> None:
        if learner.output.logits is not None:
            learner.output.logits.mul_(2.0)


@dataclass(kw_only=True, eq=False)
class HiddenFusion(StrategyPlugin):
    def adapt_model(self, learner: Learner) -> None:
        learner.model.fusion = MeanFusion()


@dataclass(kw_only=True, eq=False)
class HiddenObjective(StrategyPlugin):
    def before_backward(self, learner: Learner, **_: object) -> None:
        learner.loss = 2.0 * learner.loss


@dataclass(kw_only=True, eq=False)
class UnaskedObjective(StrategyPlugin):
    def objective(self, learner: Learner) -> Tensor:
        raise AssertionError("nobody asks for it")


@dataclass(kw_only=True, eq=False)
class HiddenBatches(StrategyPlugin):
    def before_forward(self, learner: Learner, **_: object) -> None:
        learner.batch.targets.add_(0)


@dataclass(kw_only=True, eq=False)
class ReplacedLoader(StrategyPlugin):
    def before_training_exp(self, learner: Learner, **_: object) -> None:
        learner.dataloader = list(learner.dataloader)


@dataclass(kw_only=True, eq=False)
class UnsaidTerm(StrategyPlugin):
    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        return {"size": size(learner)}


@dataclass(kw_only=True, eq=False)
class PromisedTerm(StrategyPlugin):
    def terms(self) -> Terms:
        return Terms(gradient=("pull",))


@dataclass(kw_only=True, eq=False)
class DetachedTerm(StrategyPlugin):
    def terms(self) -> Terms:
        return Terms(loss=("size",))

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        return {"size": size(learner).detach()}


@dataclass(kw_only=True, eq=False)
class TermWithoutValue(StrategyPlugin):
    def terms(self) -> Terms:
        return Terms(gradient=("nothing",))

    def gradient_terms(self, learner: Learner) -> GradientValues:
        return {"nothing": lambda: torch.tensor(torch.nan)}


@dataclass(kw_only=True, eq=False)
class IdleTeacher(StrategyPlugin):
    teachers: ClassVar[Any] = frozenset({"previous"})


@dataclass(kw_only=True, eq=False)
class HiddenTeacher(StrategyPlugin):
    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        with suppress(PluginError):  # it is there if another strategy has asked for it
            learner.teacher("initial")
        return {}


class Scales(AddOn):
    """Scales what leaves a block."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        return self.scale * here.value


@dataclass(kw_only=True, eq=False)
class HiddenAdapter(StrategyPlugin):
    def adapt_model(self, learner: Learner) -> None:
        backbone = learner.model.backbone
        site = backbone.sites_of(next(iter(backbone.towers)), "block")[0]
        learner.model.attach("hidden", site, Scales())


@dataclass(kw_only=True, eq=False)
class NoAdapter(StrategyPlugin):
    adapts: ClassVar[bool] = True


@dataclass(kw_only=True, eq=False)
class HiddenRewriting(StrategyPlugin):
    @torch.no_grad()
    def after_training_exp(self, learner: Learner, **_: object) -> None:
        for _, weight in learner.model.shared_parameters():
            weight.mul_(0.99)


@dataclass(kw_only=True, eq=False)
class NoRewriting(StrategyPlugin):
    rewrites_weights: ClassVar[bool] = True


WRONG_DECLARATIONS = (
    Sabotage(NothingAboutDeviations, "card", "does not say deviations from the paper.* Begin a line .* 'Deviations:'"),
    Sabotage(SilentOption, "explained options", "option 'strength' has no comment"),
    Sabotage(SharedNotes, "immutable defaults", "all objects share the dict 'notes'"),
    Sabotage(ListOption, "immutable defaults", "option 'names' holds a list"),
    Sabotage(PositionalOption, "final dataclass", "option 'strength' can be given by position"),
    Sabotage(AnySign, "bounded options", "option 'strength' takes -1"),
    Sabotage(OwnChecks, "bounded options", "option 'strength' takes infinity"),
    Sabotage(WholeNumber, "configuration", r"'strength' goes in as 1 and comes back as 1\.0"),
    Sabotage(GrowsZero, "declarations", "grows is 0.* Declare True or False"),
    Sabotage(MisspeltHook, "hooks", "nobody calls 'after_trainig_exp'.* Did you mean 'after_training_exp'"),
    Sabotage(FailsInCIL, "trains", "in scenario CIL it raises ValueError: no class is known"),
    Sabotage(HiddenText, "undeclared needs", "without a backbone with a text encoder it raises PluginError"),
    Sabotage(HiddenReference, "undeclared needs", "reference images and captions .* change what it does"),
    Sabotage(NeedlessText, "unneeded needs", "it learns without a backbone with a text encoder too"),
    Sabotage(NeedlessReference, "unneeded needs", "other reference images and captions .* change nothing"),
    Sabotage(NeedlessClasses, "unneeded needs", "it learns without experiences with classes too"),
    Sabotage(IdleEditor, "slots", "it takes slot GRADIENT and nothing is different"),
    Sabotage(IdleHead, "slots", "it takes slot HEAD and nothing is different"),
    Sabotage(HiddenEditor, "foreign slots", "it changes the gradient in after_backward .* Add Slot.GRADIENT"),
    Sabotage(ScalingTerm, "foreign slots", "'gradient_terms' adds depends on the gradient that is there"),
    Sabotage(HiddenHead, "foreign slots", "it changes the head or the scores in adapt_model"),
    Sabotage(HiddenScores, "foreign slots", "it changes the head or the scores in after_eval_forward"),
    Sabotage(HiddenFusion, "foreign slots", "it changes the fusion in adapt_model"),
    Sabotage(HiddenObjective, "foreign slots", "it changes the loss in before_backward"),
    Sabotage(UnaskedObjective, "foreign slots", "defines 'objective' without taking slot OBJECTIVE"),
    Sabotage(HiddenBatches, "foreign slots", "it changes the batch or its loader in before_forward"),
    Sabotage(ReplacedLoader, "foreign slots", "it changes the batch or its loader in before_training_exp"),
    Sabotage(UnsaidTerm, "terms", r"gives the loss term 'size' unsaid.* Name it in terms\(\)"),
    Sabotage(PromisedTerm, "terms", "never gives the gradient term 'pull'"),
    Sabotage(DetachedTerm, "terms", "loss term 'size' never has a gradient"),
    Sabotage(TermWithoutValue, "terms", "term 'nothing' is nan"),
    Sabotage(IdleTeacher, "teachers", "never reads the teacher 'previous'"),
    Sabotage(HiddenTeacher, "teachers", "reads the teacher 'initial', which is there only if another strategy"),
    Sabotage(HiddenAdapter, "adapted features", "steps train what it adds to the backbone.* Declare adapts = True"),
    Sabotage(NoAdapter, "adapted features", "declares adapts and adds nothing to the backbone that is trained"),
    Sabotage(HiddenRewriting, "rewritten weights", "the weights change between the last step and the end"),
    Sabotage(NoRewriting, "rewritten weights", "declares rewrites_weights and never changes weights or buffers"),
)
