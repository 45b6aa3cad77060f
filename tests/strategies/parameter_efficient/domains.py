"""What tests of prompts for domains have in common: domains of the same two classes, and what a metric sees."""

import torch
from torch import Tensor

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.asked import Asked
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.route import Route
from mmcl.data.sample import Batch, Inputs
from mmcl.evaluation.metric import Metric
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import DIL
from mmcl.testing.toy import toy_samples

SPACE = LabelSpace.of(["alpha", "beta"], templates=["{}", "a {}"])
DOMAINS = 3


def shifted(domain: int, seed: int, told: int | None = None) -> TensorSamples:
    """The same two classes in another light."""
    task = domain if told is None else told
    samples = toy_samples([0, 1], 4, task, seed)
    light = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(50 + domain))
    return TensorSamples({IMAGE: samples.values[IMAGE] + 4 * light}, samples.targets, task)


def domains(count: int = DOMAINS, told: int | None = None) -> Benchmark:
    """Domains of the same classes; ``told`` is what their test samples say they belong to."""
    return Benchmark(
        name="domains",
        edition="toy",
        scenario=DIL,
        experiences=[
            ExperienceData(f"domain {d}", shifted(d, 2 * d), shifted(d, 2 * d + 1, told), SPACE) for d in range(count)
        ],
        training={"iterations": 3, "batch_size": 4, "lr": 1e-3},
    )


class Seen(Metric):
    """Keeps ways and scores."""

    name = "seen"

    def reset(self) -> None:
        self.ways: list[int] = []
        self.scores: list[Tensor] = []

    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        assert output.route is not None
        assert output.logits is not None
        self.ways += output.route.ids.tolist()
        self.scores.append(output.logits)

    def compute(self) -> float:
        return float("nan")


class Modes(StrategyPlugin):
    """Notes whether the network is in training mode, and the rate of every step."""

    def __init__(self) -> None:
        self.training: set[bool] = set()
        self.seen: list[float] = []

    def before_forward(self, learner: Learner, **_: object) -> None:
        self.training |= {module.training for module in learner.model.backbone.modules()}
        self.seen.append(learner.optimizer.param_groups[0]["lr"])


def mixed(ids: tuple[int, ...] | None = None) -> Inputs:
    """A sample of each domain, twice."""
    images = torch.cat([shifted(d, 2 * d + 1).values[IMAGE][:2] for d in range(DOMAINS)])
    known = None if ids is None else Route.given(torch.tensor(ids))
    return Inputs({IMAGE: images}, {IMAGE: torch.ones(len(images), dtype=torch.bool)}, asked=Asked(SPACE), route=known)


def scores(model: MultimodalModel, inputs: Inputs) -> Tensor:
    with torch.no_grad():
        found = model.predict(inputs).logits
    assert found is not None
    return found


def plain_clip() -> MultimodalModel:
    """Frozen as the one under examination: torch multiplies by weights that need a gradient in another way."""
    return MultimodalModel(tiny_clip()).requires_grad_(False).eval()
