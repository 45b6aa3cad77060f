"""Bare loops: what a step of each method costs when it is written out in PyTorch, without a framework."""

import time
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

Batches = Iterable[list[Tensor]]
Penalty = Callable[[nn.Module, Tensor, Tensor], Tensor]


def orders(size: int, batch_size: int, steps: int, generator: torch.Generator) -> list[list[int]]:
    """The rows of every batch: reshuffled whenever all have been seen, as a loader does it from epoch to epoch."""
    every: list[list[int]] = []
    while len(every) < steps:
        order = torch.randperm(size, generator=generator).tolist()
        every += [order[begin : begin + batch_size] for begin in range(0, size, batch_size)]
    return every[:steps]


def train(net: nn.Module, batches: Batches, rate: float, penalty: Penalty | None = None) -> float:
    """Cross-entropy with SGD, plus a penalty of the network, its inputs and its scores; CPU seconds of the loop."""
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    net.train()
    began = time.process_time()
    for images, targets in batches:
        optimizer.zero_grad()
        scores = net(images)
        loss = functional.cross_entropy(scores, targets)
        if penalty is not None:
            loss = loss + penalty(net, images, scores)
        loss.item()
        loss.backward()
        optimizer.step()
    return time.process_time() - began


def plain(data: TensorDataset, order: list[list[int]]) -> Batches:
    """Batches as torch makes them of a data set of tensors."""
    return DataLoader(data, batch_sampler=order)


def distilled(teacher: nn.Module, temperature: float, strength: float) -> Penalty:
    """LwF over one softmax: the cross-entropy between the teacher's answers and the student's."""
    teacher = deepcopy(teacher).eval()

    def penalty(_: nn.Module, images: Tensor, scores: Tensor) -> Tensor:
        with torch.no_grad():
            answers = (teacher(images) / temperature).softmax(1)
        return strength * -(answers * (scores / temperature).log_softmax(1)).sum(1).mean()

    return penalty


def anchored(fisher: list[Tensor], centre: list[Tensor], strength: float) -> Penalty:
    """EWC, all earlier experiences in one quadratic."""

    def penalty(net: nn.Module, *_: Tensor) -> Tensor:
        parts = [(f * (p - c).square()).sum() for f, p, c in zip(fisher, net.parameters(), centre, strict=True)]
        return strength / 2 * torch.stack(parts).sum()

    return penalty


class Reservoir:
    """Replay: the rows with the largest of random keys stay, and join every batch.

    Args:
        images: remembered so far.
        targets: their classes.
        keys: theirs.
        size: most rows that stay.
        generator: of the draws and the keys.
    """

    def __init__(self, images: Tensor, targets: Tensor, keys: Tensor, size: int, generator: torch.Generator) -> None:
        self.images, self.targets, self.keys = images, targets, keys
        self.size, self.generator = size, generator

    def mixed(self, batches: Batches, first_epoch: int) -> Iterator[list[Tensor]]:
        """Every batch with as many remembered rows; those of the first epoch enter after the step that shows them."""
        for number, (images, targets) in enumerate(batches):
            drawn = torch.randperm(len(self.keys), generator=self.generator)[: len(images)]
            yield [torch.cat([images, self.images[drawn]]), torch.cat([targets, self.targets[drawn]])]
            if number < first_epoch:
                self.offer(images, targets)

    def offer(self, images: Tensor, targets: Tensor) -> None:
        """Keep the rows with the largest keys, in the order in which they came."""
        fresh = torch.rand(len(images), generator=self.generator, dtype=torch.float64)
        keys = torch.cat([self.keys, fresh])
        stay = keys.topk(min(self.size, len(keys))).indices.sort().values
        self.keys = keys[stay]
        self.images = torch.cat([self.images, images])[stay]
        self.targets = torch.cat([self.targets, targets])[stay]


@torch.no_grad()
def evaluate(net: nn.Module, sets: Iterable[TensorDataset], batch_size: int) -> list[float]:
    """Accuracy in percent on each test set."""
    net.eval()
    scores = []
    for data in sets:
        hits = total = 0
        for images, targets in DataLoader(data, batch_size=batch_size):
            hits += int((net(images).argmax(1) == targets).sum())
            total += len(targets)
        scores.append(100 * hits / total)
    return scores


def some(batches: Batches, count: int) -> Batches:
    """The first of them."""
    return islice(batches, count)
