"""Does a step of EWC cost more after fifty experiences than after one?

    python tests/performance/ewc_growth.py

A perceptron of 1.1 million parameters learns fifty domain-incremental experiences with each member of the EWC family in
MMCL's learner, and with avalanche's EWCPlugin (separate penalties, its default) in avalanche's Naive. Then what is
remembered in experience 2 and in experience 50 is put back in turn, next to a run without a strategy, and the training
steps are timed: medians of ratios of alternating runs, CPU time, one thread. Nothing is asserted.
"""

import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.training.plugins import EvaluationPlugin, EWCPlugin
from avalanche.training.supervised import Naive
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.regularization.ewc_plus_plus import EWCPlusPlus
from mmcl_strategies.regularization.ewch import EWCH
from mmcl_strategies.regularization.online_ewc import OnlineEWC
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.plain import ColumnHead, PlainBackbone
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import DIL

EARLY, LATE = 2, 50  # experiences compared
STEPS, BATCH, PAIRS, WIDTH = 40, 64, 9, 1024


class Stopwatch:
    """CPU time of the training steps of an experience, without what comes before and after them."""

    seconds = 0.0

    def before_training_epoch(self, *_: object, **__: object) -> None:
        """Start."""
        self._began = time.process_time()

    def after_training_epoch(self, *_: object, **__: object) -> None:
        """Stop."""
        self.seconds = time.process_time() - self._began


def network() -> nn.Sequential:
    """64-1024-1024-10."""
    torch.manual_seed(0)
    layers = [nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10)]
    return nn.Sequential(*layers)


def domain(index: int) -> tuple[Tensor, Tensor]:
    """Ten classes around patterns that are rotated from domain to domain."""
    generator = torch.Generator().manual_seed(index)
    targets = torch.arange(STEPS * BATCH) % 10
    patterns = torch.randn(10, 64, generator=torch.Generator().manual_seed(1000)).roll(index, 1)
    return patterns[targets] + torch.randn(len(targets), 64, generator=generator), targets


class Ours:
    """A strategy, or none, in the learner; its memory is its state."""

    def __init__(self, strategy: StrategyPlugin | None) -> None:
        self.strategy, self.clock = strategy, Stopwatch()
        self.learner = Learner(
            model=MultimodalModel(PlainBackbone(network(), (64,), 10), ColumnHead()),
            scenario=DIL,
            strategies={} if strategy is None else {"s": strategy},
            plugins=[self.clock],
            training={"epochs": 1, "batch_size": BATCH, "optimizer": "sgd", "lr": 0.01, "schedule": "constant"},
        )
        self.kept: dict[int, Any] = {}
        for index in range(0 if strategy is None else LATE - 1):
            assert strategy is not None
            self.learner.train(self.experience(index))
            if index + 2 in (EARLY, LATE):
                self.kept[index + 2] = deepcopy(strategy.state)

    def experience(self, index: int) -> Experience:
        """One domain."""
        samples = TensorSamples({IMAGE: domain(index)[0]}, domain(index)[1], index)
        space = LabelSpace.of([f"class {i}" for i in range(10)])
        return Experience(ExperienceData(f"domain{index}", samples, samples, space), samples, index)

    def seconds(self, number: int) -> float:
        """Training time of experience ``number``, counted from 1."""
        if self.strategy is not None:
            self.strategy.state = deepcopy(self.kept[number])
        self.learner.train(self.experience(LATE - 1))
        return self.clock.seconds

    def tensors(self, number: int) -> list[Tensor]:
        """What is remembered while experience ``number`` is learned."""
        return [t for part in vars(self.kept[number]).values() if isinstance(part, Mapping) for t in part.values()]


class Theirs:
    """avalanche's EWCPlugin in avalanche's Naive; how many experiences it penalises is read off the clock."""

    def __init__(self, plugin: EWCPlugin | None) -> None:
        self.plugin, self.clock = plugin, Stopwatch()
        model = network()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = EvaluationPlugin()
        self.template = Naive(
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
            criterion=nn.CrossEntropyLoss(),
            train_mb_size=BATCH,
            plugins=[self.clock] if plugin is None else [plugin, self.clock],
            evaluator=evaluator,
        )
        data = [as_classification_dataset(with_targets(*domain(index))) for index in range(LATE)]
        self.stream = benchmark_from_datasets(train=data).train_stream
        for experience in list(self.stream)[: 0 if plugin is None else LATE - 1]:
            self.template.train(experience)

    def seconds(self, number: int) -> float:
        """Training time of experience ``number``, counted from 1."""
        self.template.clock.train_exp_counter = number - 1
        self.template.train(self.stream[LATE - 1])
        return self.clock.seconds

    def tensors(self, number: int) -> list[Tensor]:
        """What is remembered while experience ``number`` is learned."""
        assert self.plugin is not None
        kept = [
            part[index] for part in (self.plugin.saved_params, self.plugin.importances) for index in range(number - 1)
        ]
        return [parameter.data for named in kept for parameter in named.values()]


def with_targets(inputs: Tensor, targets: Tensor) -> TensorDataset:
    """Tensors with the attribute by which avalanche finds targets."""
    data = TensorDataset(inputs, targets)
    data.targets = targets.tolist()
    return data


def mebibytes(tensors: list[Tensor]) -> float:
    """Size of tensors in memory."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 2**20


def main() -> None:
    """Print a line per strategy."""
    torch.set_num_threads(1)
    fewer = {"strength": 1.0, "samples": 8}
    builders: dict[str, Callable[[], Ours | Theirs]] = {
        "ewc": lambda: Ours(EWC(**fewer)),
        "ewch": lambda: Ours(EWCH(**fewer)),
        "online_ewc": lambda: Ours(OnlineEWC(**fewer)),
        "ewc_plus_plus": lambda: Ours(EWCPlusPlus(strength=1.0)),
        "avalanche's EWCPlugin": lambda: Theirs(EWCPlugin(ewc_lambda=1.0)),
    }
    for name, build in builders.items():
        runs = build()
        bare: Ours | Theirs = Ours(None) if isinstance(runs, Ours) else Theirs(None)
        growth, cost = [], []
        for pair in range(PAIRS + 1):
            turns = [(runs, LATE), (runs, EARLY), (bare, LATE)]
            order = [0, 1, 2] if pair % 2 else [2, 1, 0]  # nobody always runs into a cold cache
            taken = {index: turns[index][0].seconds(turns[index][1]) for index in order}
            late, early, plain = (taken[index] for index in range(3))
            if pair:  # the first warms up
                growth.append(late / early)
                cost.append(late / plain)
        before, after = (mebibytes(runs.tensors(number)) for number in (EARLY, LATE))
        print(
            f"{name}: step in experience {LATE} / in experience {EARLY} {spread(growth)}, / without strategy "
            f"{spread(cost)}; memory {before:.1f} MiB -> {after:.1f} MiB",
            flush=True,
        )


def spread(ratios: list[float]) -> str:
    """Median, minimum and maximum."""
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


if __name__ == "__main__":
    main()
