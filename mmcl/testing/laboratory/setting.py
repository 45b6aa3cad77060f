"""Setting: a toy stream and the miniature that learns it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mmcl.backbones.flava import tiny_flava
from mmcl.backbones.openclip import OpenCLIPBackbone, tiny_clip
from mmcl.data.asked import AnswerKind
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import CompositionError
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import Backbone
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, MDTIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_pairs, toy_questions
from mmcl.testing.toy.models import ImageTower, TextTower
from mmcl.testing.toy.samples import Raw, rewritten

_TRAINING = {"iterations": 3, "batch_size": 4, "device": "cpu"}  # a GPU does not add up in the same order twice


@dataclass(frozen=True)
class Setting:
    """What a strategy is tried in.

    Attributes:
        name: as sentences say it.
        scenario: of the stream.
        encodes: modalities of the backbone.
        backbone: builds it.
        raw: whether images are Pillow images, which are prepared and augmented.
        pairs: whether the stream shows pairs of images and texts without classes.
        questions: whether it asks about images, of a backbone that also reads image and text together.
    """

    name: str
    scenario: Scenario
    encodes: frozenset[str] = frozenset({IMAGE, TEXT})
    backbone: Callable[[], Backbone] = field(default=tiny_clip, compare=False)
    raw: bool = False
    pairs: bool = False
    questions: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def surroundings(self) -> Surroundings:
        """As compositions are checked against them."""
        both = self.scenario.modalities_change or self.pairs or self.questions
        together = {self.encodes} if self.questions else set()
        return Surroundings(
            scenario=self.scenario,
            towers=frozenset({frozenset({name}) for name in self.encodes} | together),
            reference_data=True,
            modalities=frozenset({IMAGE, TEXT}) if both else self.encodes - {TEXT} or self.encodes,
            answers=AnswerKind.PARTNER if self.pairs else AnswerKind.CLASS,
            writes=False,
        )

    def benchmark(self, experiences: int = 3, *, classes: int = 2, per_class: int = 6, seed: int = 0) -> Benchmark:
        """A fresh stream of this setting."""
        if self.pairs:
            return toy_pairs(self.scenario, experiences, classes * per_class, seed)
        if self.questions:
            return toy_questions(self.scenario, experiences, classes, per_class, seed)
        turns = None if IMAGE in self.encodes else [self.encodes]
        benchmark = toy_benchmark(self.scenario, experiences, classes, per_class, seed, turns)
        return rewritten(benchmark, lambda samples, *_: Raw(samples)) if self.raw else benchmark

    def learner(self, benchmark: Benchmark, strategies: dict[str, StrategyPlugin], **training: Any) -> Learner:
        """A fresh learner with a few short steps per experience."""
        return toy_learner(benchmark, strategies, backbone=self.backbone(), **{**_TRAINING, **training})

    def refusal(self, strategy: StrategyPlugin, name: str) -> str:
        """Why a strategy does not compose with it; empty if it does."""
        try:
            check_composition([strategy], [name], self.surroundings)
        except CompositionError as refused:
            return str(refused)
        return ""


def trained_scale() -> OpenCLIPBackbone:
    """A miniature CLIP whose logit scale is not the one that training begins with, as if it had been trained."""
    backbone = tiny_clip()
    backbone.clip.get_parameter("logit_scale").data.fill_(3.0)
    return backbone


TEXT_TOWER = Setting("scenario TIL without images", TIL, frozenset({TEXT}), TextTower)
IMAGE_TOWER = Setting("scenario TIL without texts", TIL, frozenset({IMAGE}), ImageTower)
CLASS_SETTING = Setting("scenario CIL", CIL)
CHANGING_SETTING = Setting("scenario MDTIL", MDTIL)
PAIR_SETTING = Setting("scenario DIL with pairs", DIL, backbone=trained_scale, pairs=True)
CLIP_SETTINGS = (
    CLASS_SETTING,
    Setting("scenario DIL", DIL),
    Setting("scenario TIL", TIL),
    CHANGING_SETTING,
    PAIR_SETTING,
    Setting("scenario TIL with pairs", TIL, backbone=trained_scale, pairs=True),
    Setting("scenario CIL with image files", CIL, raw=True),
)
SPARE_SETTINGS = (
    Setting("scenario TIL with pairs", TIL, pairs=True),
    Setting("scenario CIL with questions", CIL, backbone=tiny_flava, questions=True),
    Setting("scenario TIL with questions", TIL, backbone=tiny_flava, questions=True),
)


def composing(strategy: StrategyPlugin, name: str) -> list[Setting]:
    """The usual settings that a strategy composes with; the spare ones for those who compose with no other."""
    for settings in (CLIP_SETTINGS, SPARE_SETTINGS):
        if found := [setting for setting in settings if not setting.refusal(strategy, name)]:
            return found
    return []
