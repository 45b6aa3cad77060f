"""The documented path beside bare loops: tensors given to ``mmcl.streams``, and the same arithmetic in plain PyTorch.

    python tests/performance/documented_path.py [PAIRS]

A perceptron 64-128-128-10 (26 thousand parameters) learns domains of 1,280 samples in batches of 32 from
``mmcl.streams.by_domain`` over ``TensorDataset``; the bare loops read the same rows in the same order through torch's
``DataLoader`` and ``TensorDataset``. How far their weights end from those of the learner stands behind each line.
CPU time of the steps, one thread, medians of pairs in alternating order; nothing is asserted.
"""

import cProfile
import pstats
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import bare_loops as bare
import torch
from mmcl_strategies.distillation.lwf import LwF
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.replay.replay import Replay
from pairs import Stopwatch, ratio
from torch import nn
from torch.utils.data import TensorDataset

import mmcl
from mmcl.data.modality import IMAGE
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.learner import Learner
from mmcl.learning.seeding import derive_generator
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.plain import ColumnHead, PlainBackbone
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.experience import Experience

ROWS, BATCH, EPOCHS, DOMAINS, RATE = 1600, 32, 5, 20, 0.01  # a fifth of the rows is for testing
TRAINING = {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": "sgd", "lr": RATE, "schedule": "constant"}


def stream() -> Benchmark:
    """Domains whose patterns are rotated one after the other."""

    def domain(index: int) -> TensorDataset:
        generator = torch.Generator().manual_seed(index)
        targets = torch.arange(ROWS) % 10
        patterns = torch.randn(10, 64, generator=torch.Generator().manual_seed(1000)).roll(index, 1)
        return TensorDataset(patterns[targets] + torch.randn(ROWS, 64, generator=generator), targets)

    return mmcl.streams.by_domain({f"domain {index}": domain(index) for index in range(DOMAINS)}, ready=True)


def network() -> nn.Sequential:
    """64-128-128-10."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def rows(experience: Experience) -> TensorDataset:
    """The samples of an experience as the user of a bare loop holds them, in the order of the stream."""
    samples = [experience.samples[index] for index in range(len(experience.samples))]
    images = torch.stack([sample.inputs[IMAGE] for sample in samples])
    return TensorDataset(images, torch.tensor([sample.target for sample in samples]))


class Before:
    """A learner in front of an experience, which it learns again and again from the same state.

    Args:
        domains: the stream.
        strategy: composed with nothing else; ``None``: plain fine-tuning.
        at: which experience; those before are learned once.
    """

    def __init__(self, domains: Benchmark, strategy: Any, at: int) -> None:
        self.strategy, self.experience, self.clock = strategy, domains.train[at], Stopwatch()
        self.network = network()
        strategies: dict[str, StrategyPlugin] = {} if strategy is None else {"s": strategy}
        self.learner = Learner(
            model=MultimodalModel(PlainBackbone(self.network, (64,), 10), ColumnHead()),
            scenario=domains.scenario,
            strategies=strategies,
            plugins=[self.clock],
            training=TRAINING,
        )
        for experience in list(domains.train)[:at]:
            self.learner.train(experience)
        self.weights, self.state = deepcopy(self.network.state_dict()), deepcopy(getattr(strategy, "state", None))
        self.data = rows(self.experience)
        self.steps = self.learner.iterations(self.experience)
        self.ended: tuple[nn.Module, nn.Module] = self.network, self.network

    def ours(self) -> float:
        """CPU time of the steps through the learner."""
        self.network.load_state_dict(self.weights)
        if self.state is not None:
            self.strategy.state = deepcopy(self.state)
        self.learner.train(self.experience)
        self.ended = deepcopy(self.network), self.ended[1]
        return self.clock.seconds

    def order(self, read_ahead: bool = True) -> list[list[int]]:
        """The rows of every batch, those that the learner draws."""
        generator = self.generator("batches")
        if read_ahead:  # the seed of augmentation
            torch.randint(2**31, (), generator=generator)
        return bare.orders(len(self.data), BATCH, self.steps, generator)

    def generator(self, name: str) -> torch.Generator:
        """The one of the learner, for one purpose in this experience."""
        return derive_generator(0, self.experience.index, name)

    def start(self) -> nn.Sequential:
        """A network in the state before the experience."""
        net = network()
        net.load_state_dict(self.weights)
        return net

    def bare(self, net: nn.Module, batches: bare.Batches, penalty: bare.Penalty | None = None) -> float:
        """CPU time of the steps of a bare loop."""
        seconds = bare.train(net, batches, RATE, penalty)
        self.ended = self.ended[0], net
        return seconds

    def distance(self) -> float:
        """The largest difference between a weight of the last run of each."""
        pairs = zip(self.ended[0].parameters(), self.ended[1].parameters(), strict=True)
        return max(float((one - other).abs().max()) for one, other in pairs)


def naive(before: Before) -> Callable[[], float]:
    """Without a strategy."""
    order = before.order()
    return lambda: before.bare(before.start(), bare.plain(before.data, order))


def lwf(before: Before) -> Callable[[], float]:
    """With the network of the last experience as the teacher."""
    order, method = before.order(), before.strategy
    return lambda: before.bare(
        net := before.start(),
        bare.plain(before.data, order),
        bare.distilled(net, method.temperature, method.strength),
    )


def ewc(before: Before) -> Callable[[], float]:
    """With the sum of all penalties."""
    order, state = before.order(), before.state
    penalty = bare.anchored(list(state.fisher.values()), list(state.centre.values()), before.strategy.strength)
    return lambda: before.bare(before.start(), bare.plain(before.data, order), penalty)


def replay(before: Before) -> Callable[[], float]:
    """With what is remembered in stacked tensors."""
    order, records = before.order(read_ahead=False), before.state.records
    images = torch.stack([record["inputs"][IMAGE] for record in records])
    targets, keys = torch.tensor([record["target"] for record in records]), torch.tensor(before.state.keys)

    def run() -> float:
        memory = bare.Reservoir(images, targets, keys.double(), before.strategy.size, before.generator("replay"))
        batches = memory.mixed(bare.plain(before.data, order), first_epoch=before.steps // EPOCHS)
        return before.bare(before.start(), batches)

    return run


def evaluation(before: Before, domains: Benchmark, pairs: int) -> None:
    """A row of all test sets, several times over."""
    sets, metric, learner = [rows(experience) for experience in domains.test], Accuracy(), before.learner
    scores: list[list[float]] = [[], []]

    def ours() -> float:
        began = time.process_time()
        with learner.evaluating():
            scores[0] = [learner.evaluate(experience, metric) for experience in domains.test]
        return time.process_time() - began

    def by_hand() -> float:
        began = time.process_time()
        scores[1] = bare.evaluate(before.network, sets, learner.config.eval_batch_size)
        return time.process_time() - began

    found = ratio(ours, by_hand, pairs)
    difference = max(abs(one - other) for one, other in zip(*scores, strict=True))
    print(f"evaluation of {len(sets)} test sets / bare loop: {found}; scores differ by {difference:.1e}", flush=True)


def calls_per_step(run: Callable[[], float], steps: int) -> float:
    """Python and C calls of a step."""
    profile = cProfile.Profile()
    profile.enable()
    run()
    profile.disable()
    return pstats.Stats(profile).total_calls / steps  # type: ignore[attr-defined, no-any-return]


def main(pairs: int) -> None:
    """Print a line for each comparison."""
    torch.set_num_threads(1)
    domains = stream()
    cases: list[tuple[str, Any, int, Callable[[Before], Callable[[], float]]]] = [
        ("no strategy", None, 0, naive),
        ("lwf", LwF(), 1, lwf),
        ("replay", Replay(), 1, replay),
        ("ewc in experience 20", EWC(strength=1.0), DOMAINS - 1, ewc),
    ]
    for name, strategy, at, loop in cases:
        before = Before(domains, strategy, at)
        by_hand = loop(before)
        found = ratio(before.ours, by_hand, pairs)
        print(f"{name} / the same in a bare loop: {found}; weights differ by {before.distance():.1e}", flush=True)
        if strategy is None:
            calls = (calls_per_step(run, before.steps) for run in (before.ours, by_hand))
            print("calls of a step: learner {:.0f}, bare loop {:.0f}".format(*calls), flush=True)
            evaluation(before, domains, pairs)
        if name.startswith("ewc"):
            print(f"{name} / bare loop without a strategy: {ratio(before.ours, naive(before), pairs)}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
