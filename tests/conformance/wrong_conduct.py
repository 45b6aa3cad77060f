"""Strategies that look at what they may not see, forget what they should keep, or disturb others.

Paper: none.
Idea: each is a harmless strategy but for one thing.
Equation: ``L = L_task``.
Kept between experiences: nothing.
Deviations: none.
"""

import random
import socket
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from mmcl.data.modality import IMAGE
from mmcl.learning.compose import Order, Slot
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import GradientValues, MemoryBudget, StrategyPlugin, Terms
from mmcl.options import Natural

from .sabotage import Sabotage
from .wrong_declarations import size


@dataclass(kw_only=True, eq=False)
class KnowsTheExperience(StrategyPlugin):
    """Moves a weight while it is tested, by the index of the experience."""

    _kept: list[Tensor] = field(default_factory=list, init=False, repr=False)

    @torch.no_grad()
    def before_eval_exp(self, learner: Learner, **_: object) -> None:
        weights = [weight for _, weight in learner.model.shared_parameters()]
        self._kept = [weight.clone() for weight in weights]
        for weight in weights:
            weight.mul_(1.0 + 0.01 * learner.current.index)

    @torch.no_grad()
    def after_eval_exp(self, learner: Learner, **_: object) -> None:
        for (_, weight), kept in zip(learner.model.shared_parameters(), self._kept, strict=True):
            weight.copy_(kept)
        self._kept = []


@dataclass(kw_only=True, eq=False)
class LooksBack(StrategyPlugin):
    def before_training_exp(self, learner: Learner, **_: object) -> None:
        for experience in learner.seen[:-1]:
            experience.samples[0]


@dataclass(kw_only=True, eq=False)
class LooksAtTests(StrategyPlugin):
    def before_training_exp(self, learner: Learner, **_: object) -> None:
        learner.current.data.test[0]


@dataclass(kw_only=True, eq=False)
class LooksAhead(StrategyPlugin):
    def terms(self) -> Terms:
        return Terms(loss=("size",))

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        return {"size": len(learner.current.origin_stream) * size(learner)}


@dataclass(kw_only=True, eq=False)
class NeedlessStream(StrategyPlugin):
    order: ClassVar[Order] = "at once"


@dataclass(kw_only=True, eq=False)
class BlindToPresence(StrategyPlugin):
    def terms(self) -> Terms:
        return Terms(loss=("images",))

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        inputs = learner.batch.inputs
        return {"images": learner.output.fused.mean() * inputs[IMAGE].mean()} if IMAGE in inputs else {}


@dataclass(kw_only=True, eq=False)
class WantsTwoSamples(StrategyPlugin):
    def after_forward(self, learner: Learner, **_: object) -> None:
        if len(learner.batch.targets) < 2:
            raise ValueError("no standard deviation")


@dataclass(kw_only=True, eq=False)
class WantsTwoClasses(StrategyPlugin):
    def terms(self) -> Terms:
        return Terms(loss=("size",))

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        return {"size": size(learner) / (len(learner.label_space) - 1)}


@dataclass
class Anchors:
    anchor: dict[str, Tensor] = field(default_factory=dict)


@dataclass(kw_only=True, eq=False)
class Forgetful(StrategyPlugin):
    """Keeps its anchor where no checkpoint finds it."""

    _anchor: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def terms(self) -> Terms:
        return Terms(loss=("pull",))

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        if not self._anchor:
            return {}
        pulls = [(w - self._anchor[name]).square().sum() for name, w in learner.model.shared_parameters()]
        return {"pull": torch.stack(pulls).sum()}

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        self._anchor = {name: w.detach().clone() for name, w in learner.model.shared_parameters()}


@dataclass
class Place:
    where: Path = Path("somewhere")


@dataclass(kw_only=True, eq=False)
class KeepsAnObject(StrategyPlugin):
    state: Place = field(default_factory=Place, init=False, repr=False)


@dataclass(kw_only=True, eq=False)
class KeepsTheModel(StrategyPlugin):
    state: Anchors = field(default_factory=Anchors, init=False, repr=False)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        self.state.anchor = {name: weight.detach() for name, weight in learner.model.shared_parameters()}


@dataclass(kw_only=True, eq=False)
class KeepsAView(StrategyPlugin):
    state: Anchors = field(default_factory=Anchors, init=False, repr=False)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        self.state.anchor = {"first": torch.zeros(1000)[:1]}


@dataclass
class Pair:
    both: tuple[Tensor, ...] = ()


@dataclass(kw_only=True, eq=False)
class KeepsATuple(StrategyPlugin):
    state: Pair = field(default_factory=Pair, init=False, repr=False)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        self.state.both = (torch.zeros(2), torch.ones(2))


@dataclass(kw_only=True, eq=False)
class KnowsItsDevice(StrategyPlugin):
    _device: torch.device = field(default_factory=lambda: torch.device("cpu"), init=False, repr=False)


@dataclass
class Images:
    images: list[Tensor] = field(default_factory=list)


def keep(state: Images, learner: Learner, room: int) -> None:
    """Images of the experience, until there is no room."""
    samples = learner.current.samples
    for index in range(min(len(samples), room - len(state.images))):
        image = samples[index].inputs.get(IMAGE)
        if isinstance(image, Tensor):
            state.images.append(image.clone())


@dataclass(kw_only=True, eq=False)
class HiddenMemory(StrategyPlugin):
    state: Images = field(default_factory=Images, init=False, repr=False)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        keep(self.state, learner, room=3)


@dataclass(kw_only=True, eq=False)
class ByteBudget(StrategyPlugin):
    state: Anchors = field(default_factory=Anchors, init=False, repr=False)

    def memory_budget(self) -> MemoryBudget:
        return MemoryBudget(nbytes=100)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        self.state.anchor = {"numbers": torch.zeros(26)}


@dataclass(kw_only=True, eq=False)
class WantsRoom(StrategyPlugin):
    size: Natural = 500  # samples

    state: Images = field(default_factory=Images, init=False, repr=False)

    def memory_budget(self) -> MemoryBudget:
        return MemoryBudget(samples=self.size)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        keep(self.state, learner, room=min(self.size, 12 // self.size))


@dataclass(kw_only=True, eq=False)
class Unlearns(StrategyPlugin):
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.OBJECTIVE})

    def objective(self, learner: Learner) -> Tensor:
        return -learner.criterion()


@dataclass(kw_only=True, eq=False)
class CountsItsReaders(StrategyPlugin):
    """Pulls harder each time somebody asks for the value of the pull."""

    _asked: int = field(default=0, init=False, repr=False)

    def terms(self) -> Terms:
        return Terms(gradient=("size",))

    def gradient_terms(self, learner: Learner) -> GradientValues:
        for _, weight in learner.model.shared_parameters():
            if weight.grad is not None:
                weight.grad.add_(weight.detach(), alpha=1.0 + self._asked)

        def value() -> Tensor:
            self._asked += 1
            return size(learner).detach()

        return {"size": value}


@dataclass(kw_only=True, eq=False)
class SeededByTheWorld(StrategyPlugin):
    _strength: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        self._strength = float(torch.initial_seed() % 1000)

    def terms(self) -> Terms:
        return Terms(loss=("size",))

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        return {"size": self._strength * size(learner)}


@dataclass(kw_only=True, eq=False)
class DrawsForNothing(StrategyPlugin):
    def after_update(self, learner: Learner, **_: object) -> None:
        random.random()


@dataclass(kw_only=True, eq=False)
class CountsInAnOption(StrategyPlugin):
    learned: Natural = 0  # experiences

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        self.learned += 1


@dataclass
class Count:
    answered: int = 0


@dataclass(kw_only=True, eq=False)
class CountsAnswers(StrategyPlugin):
    state: Count = field(default_factory=Count, init=False, repr=False)

    def after_eval_iteration(self, learner: Learner, **_: object) -> None:
        self.state.answered += len(learner.batch.targets)


@dataclass(kw_only=True, eq=False)
class LeavesTheMode(StrategyPlugin):
    def after_training_exp(self, learner: Learner, **_: object) -> None:
        learner.model.eval()


@dataclass(kw_only=True, eq=False)
class MovesTheStatistics(StrategyPlugin):
    def after_training_exp(self, learner: Learner, **_: object) -> None:
        with torch.no_grad():
            for batch in learner.one_pass(learner.current.samples):
                learner.model.encode(batch.inputs)


@dataclass(kw_only=True, eq=False)
class ShrinksEverything(StrategyPlugin):
    @torch.no_grad()
    def after_update(self, learner: Learner, **_: object) -> None:
        for name, weight in learner.model.named_parameters():
            if "logit_scale" not in name:  # always frozen, and so in no checkpoint
                weight.mul_(0.999)


@dataclass
class Sums:
    sums: list[Tensor] = field(default_factory=list)


@dataclass(kw_only=True, eq=False)
class NeverForgets(StrategyPlugin):
    state: Sums = field(default_factory=Sums, init=False, repr=False)

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        self.state.sums.append(torch.zeros(3))


@dataclass(kw_only=True, eq=False)
class WorksHarder(StrategyPlugin):
    """Its steps get longer, although it keeps nothing."""

    def after_update(self, learner: Learner, **_: object) -> None:
        for experience in learner.seen:
            str(experience.index)


@dataclass(kw_only=True, eq=False)
class NoGrowth(StrategyPlugin):
    grows: ClassVar[bool] = True


@dataclass(kw_only=True, eq=False)
class KeepsBatches(StrategyPlugin):
    _batches: deque[Any] = field(default_factory=lambda: deque(maxlen=5), init=False, repr=False)

    def after_update(self, learner: Learner, **_: object) -> None:
        self._batches.append(learner.batch)


@dataclass(kw_only=True, eq=False)
class KeepsTheGraph(StrategyPlugin):
    _loss: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def after_update(self, learner: Learner, **_: object) -> None:
        self._loss = [learner.loss]


@dataclass(kw_only=True, eq=False)
class WritesALog(StrategyPlugin):
    def after_training_exp(self, learner: Learner, **_: object) -> None:
        Path("log.txt").write_text("an experience has been learned")


@dataclass(kw_only=True, eq=False)
class CallsHome(StrategyPlugin):
    def after_training_exp(self, learner: Learner, **_: object) -> None:
        with suppress(OSError), socket.socket() as home:
            home.connect(("127.0.0.1", 9))


WRONG_CONDUCT = (
    Sabotage(KnowsTheExperience, "hidden experience", "the same samples differ .* said to belong to experience 1"),
    Sabotage(LooksBack, "own data", "reads train data of experience 0 while it learns experience 1"),
    Sabotage(LooksAtTests, "own data", "reads test data of experience 0 while it learns experience 0"),
    Sabotage(LooksAhead, "future", "the first experience is learned otherwise if others follow it"),
    Sabotage(NeedlessStream, "future", "declares to learn all experiences at once, and its future changes nothing"),
    Sabotage(BlindToPresence, "missing modalities", "in scenario MDTIL, if missing values are filled with something"),
    Sabotage(WantsTwoSamples, "batch of one", "with batches of one sample it raises ValueError: no standard"),
    Sabotage(WantsTwoClasses, "one class", "with one class in each experience it raises TrainingError.* is inf"),
    Sabotage(Forgetful, "resumption", r"continued before experience 1: of the weights, .* differ by up to"),
    Sabotage(KeepsAnObject, "loadable state", "cannot be loaded with weights_only=True"),
    Sabotage(KeepsTheModel, "own tensors", "anchor.* shares its memory with the model"),
    Sabotage(KeepsAView, "own tensors", "first.* is a view of 4 bytes that keeps 4000"),
    Sabotage(KeepsATuple, "devices", r"loaded on another device, .*both.* stays where it was"),
    Sabotage(KnowsItsDevice, "devices", "before there is a learner, '_device' holds a device"),
    Sabotage(HiddenMemory, "memory budget", "with room for 0 samples, it keeps 3 after experience 0"),
    Sabotage(ByteBudget, "memory budget", "with room for 100 bytes, it keeps 104"),
    Sabotage(WantsRoom, "empty memory", "without room it raises ZeroDivisionError"),
    Sabotage(Unlearns, "learns", "log-likelihood of the training samples is -.* before and -.* after 40 steps"),
    Sabotage(CountsItsReaders, "company", "beside two strategies that do nothing, of the weights, .* differ"),
    Sabotage(SeededByTheWorld, "determinism", "learned twice, after experience 0, .*differ by up to"),
    Sabotage(DrawsForNothing, "random state", "uses the global generator of Python's random"),
    Sabotage(CountsInAnOption, "options", "option 'learned' changes"),
    Sabotage(CountsAnswers, "evaluation", "without being evaluated, .*answered.* are 0 and "),
    Sabotage(LeavesTheMode, "auxiliary passes", "module .* is in another mode than after the last step"),
    Sabotage(MovesTheStatistics, "auxiliary passes", "buffer .*running_mean' is another than after the last step"),
    Sabotage(ShrinksEverything, "frozen parameters", "with freeze = 'backbone.clip.visual.*', backbone.clip.visual"),
    Sabotage(NeverForgets, "growth", "bytes kept after 4 to 7 experiences are"),
    Sabotage(WorksHarder, "growth", "calls in a step after 4 to 7 experiences are"),
    Sabotage(NoGrowth, "growth", "declares grows, and neither bytes nor calls grow"),
    Sabotage(KeepsBatches, "held batches", "3 past batches are still in memory"),
    Sabotage(KeepsTheGraph, "held batches", "'_loss.0.' holds a graph from one step to the next"),
    Sabotage(WritesALog, "written files", r"it writes .*log\.txt"),
    Sabotage(CallsHome, "written files", r"it calls .*127\.0\.0\.1"),
)
