"""DER++: dark experience replay.

Paper: Buzzega, Boschini, Porrello, Abati and Calderara, "Dark Experience for General Continual Learning: a Strong,
Simple Baseline", NeurIPS 2020. Official code: mammoth.
Idea: remember with each sample what the model answered when it saw it, and keep answering so; and keep the label, too.
Equation: ``L = L_task + alpha * MSE(h(x'), z') + beta * CE(h(x''), y'')`` with logits h, and two independent draws
(x', z') and (x'', y'') from the memory; ``beta = 0`` is DER.
Memory: a reservoir of samples with label and logits. After each step all samples of the batch are offered with the
logits of that step, so the answers come from all along the training, and a sample that is shown again is offered again.
Kept between experiences: the samples by value, un-augmented; their logits and the ids of the classes these belong to;
the number of offers.
Deviations: the number of classes grows here, so logits are stored with the classes that competed when they were
computed and compared with today's logits of those classes; with a fixed set this is the authors' MSE, a mean over
samples and classes (the paper writes the squared norm). Defaults are the authors' for Sequential CIFAR-10 with 500
samples; logits of CLIP are about 100 times cosines, and want a smaller alpha.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from mmcl.data.loader import IterationSampler
from mmcl.data.memory import Memory
from mmcl.data.sample import Batch
from mmcl.data.selection import REJECTED, reservoir_slot
from mmcl.learning.compose import Need, Slot
from mmcl.learning.strategy import Learner, MemoryBudget, StrategyPlugin, Terms
from mmcl.objectives.likelihoods import cross_entropy
from mmcl.options import Natural, NonNegative, Width
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

NO_CLASS = -1


@dataclass
class DERPPState:
    """The slots of the memory, in three lists of equal length, and the count that the reservoir needs."""

    records: list[dict[str, Any]] = field(default_factory=list)  # samples, as Memory keeps them
    logits: list[Tensor] = field(default_factory=list)  # of each, float32[C]
    classes: list[Tensor] = field(default_factory=list)  # ids of the classes these belong to, int64[C]
    offered: int = 0  # samples offered so far


@dataclass(kw_only=True, eq=False)
class DERPP(StrategyPlugin):
    """Keeps logits and labels of remembered samples."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.BATCHES})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CLASSES})

    size: Natural = 500  # slots of the memory
    alpha: NonNegative = 0.2  # strength of the remembered logits
    beta: NonNegative = 0.5  # strength of the remembered labels
    batch_size: Width | None = None  # remembered samples in each of the two draws; None: as many as new ones

    state: DERPPState = field(default_factory=DERPPState, init=False, repr=False)
    _generators: dict[str, torch.Generator] = field(default_factory=dict, init=False, repr=False)
    _shown: list[int] = field(default_factory=list, init=False, repr=False)

    def memory_budget(self) -> MemoryBudget:
        """So many samples."""
        return MemoryBudget(samples=self.size)

    def terms(self) -> Terms:
        """The terms whose strength is not zero."""
        return Terms(loss=tuple(name for name, strength in self._strengths().items() if strength))

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Every use of chance has a generator of its own; the same after a restart."""
        self._generators = {name: learner.generator("derpp", name) for name in ("logits", "labels", "reservoir")}

    def training_batches(self, learner: Learner) -> "NotedBatches":
        """The usual batches; which samples are in them is noted, so that they can be remembered un-augmented."""
        return NotedBatches(learner, self._shown)

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """``logits`` and ``labels``; nothing while the memory is empty."""
        if not self.state.records:
            return {}
        compute = {"logits": self._logits_term, "labels": self._labels_term}
        found = {name: self._strengths()[name] * compute[name](learner) for name in self.terms().loss}
        learner.consider(learner.batch)  # the classes of the new batch compete again
        return found

    def after_update(self, learner: Learner, **_: object) -> None:
        """Offer the samples of this step to the reservoir, with their logits."""
        assert learner.output.logits is not None
        classes = torch.tensor(learner.label_space.ids)
        memory, state = Memory(self.state.records), self.state
        for index, logits in zip(self._shown, learner.output.logits.detach().float().cpu(), strict=True):
            u = float(torch.rand((), generator=self._generators["reservoir"]))
            slot = reservoir_slot(state.offered, self.size, u)
            state.offered += 1
            if slot == REJECTED:
                continue
            memory.put(slot, learner.current.samples[index])
            state.logits[slot : slot + 1] = [logits.clone()]
            state.classes[slot : slot + 1] = [classes]

    def _strengths(self) -> dict[str, float]:
        return {"logits": self.alpha, "labels": self.beta}

    def _logits_term(self, learner: Learner) -> Tensor:
        drawn, _, logits = self._recall(learner, "logits")
        # on the CPU like new ones, also after a restart has put the state on the device
        stored = pad_sequence([self.state.logits[i].cpu() for i in drawn], batch_first=True)
        classes = pad_sequence([self.state.classes[i].cpu() for i in drawn], batch_first=True, padding_value=NO_CLASS)
        return logits_term(logits, learner.label_space.columns(classes.to(logits.device)), stored.to(logits.device))

    def _labels_term(self, learner: Learner) -> Tensor:
        _, batch, logits = self._recall(learner, "labels")
        columns = learner.label_space.columns(batch.targets)
        return cross_entropy(logits, columns, learner.allowed, learner.config.label_smoothing)

    def _recall(self, learner: Learner, purpose: str) -> tuple[list[int], Batch, Tensor]:
        """Slots drawn without replacement, their samples augmented anew, and today's logits ``[B, C]``."""
        memory = Memory(self.state.records)
        count = self.batch_size or learner.config.batch_size
        drawn = torch.randperm(len(memory), generator=self._generators[purpose])[:count].tolist()
        batch = learner.prepare(memory, drawn, name=f"derpp/{purpose}").to(learner.device)
        learner.consider(batch)
        logits = learner.model(batch.inputs).logits
        assert logits is not None
        return drawn, batch, logits.float()


class NotedBatches:
    """The batches of one experience; ``shown`` always holds the indices of the samples in the latest one."""

    def __init__(self, learner: Learner, shown: list[int]) -> None:
        self.learner, self.shown = learner, shown
        self.samples = learner.current.samples
        self.iterations = learner.iterations(learner.current)

    def __len__(self) -> int:
        return self.iterations

    def __iter__(self) -> Iterator[Batch]:
        learner = self.learner
        order = list(
            IterationSampler(
                len(self.samples), learner.config.batch_size, self.iterations, learner.generator("batches")
            )
        )
        for indices, batch in zip(order, learner.batches_in(self.samples, order, name="derpp"), strict=True):
            self.shown[:] = indices
            yield batch


def logits_term(logits: Tensor, columns: Tensor, stored: Tensor) -> Tensor:
    """Mean squared difference over all (sample, class) pairs that were stored.

    Args:
        logits: ``[B, C]`` of today.
        columns: ``int64[B, K]``, where in ``logits`` the stored classes are; ``NO_CLASS`` fills shorter rows.
        stored: ``[B, K]``.

    Returns:
        A scalar.
    """
    there = columns != NO_CLASS
    today = logits.gather(1, columns.clamp(min=0))
    return ((today - stored).square() * there).sum() / there.sum()
