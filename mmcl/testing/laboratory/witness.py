"""Witnesses: two strategies that do nothing but look, one before and one after the strategy under examination.

What differs between their views of one moment is the work of the strategy between them.
"""

import gc
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from mmcl.data.nested import leaves
from mmcl.learning.compose import Slot
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.teachers import Policy
from mmcl.learning.timeline import METHOD_OF_SLOT, TIMELINE
from mmcl.models.sites import ADDONS
from mmcl.testing.check import Subject
from mmcl.testing.laboratory.record import Read, Record
from mmcl.testing.laboratory.setting import Setting
from mmcl.testing.laboratory.trial import NAME, Snapshot, global_generators, learned, snapshot
from mmcl.testing.laboratory.view import batch_tensors, decided, digest, gradients, is_of_backbone, model_digest, modes
from mmcl.testing.toy.samples import Watched, rewritten


@dataclass(kw_only=True, eq=False)
class Witness(StrategyPlugin):
    """Tells ``notice`` of every event, and changes nothing."""

    # so that one that was not declared can be read, and be seen
    teachers: ClassVar[frozenset[str | Policy]] = frozenset({"initial", "previous"})

    notice: Callable[[str, Learner], None]


def _hook(event: str) -> Callable[..., Any]:
    def tell(self: Witness, learner: Learner, **_: object) -> Any:
        self.notice(event, learner)
        return {} if event.endswith("_terms") else None

    return tell


for _event in TIMELINE:
    if _event not in METHOD_OF_SLOT.values():
        setattr(Witness, _event, _hook(_event))


class Observer:
    """Compares what the two witnesses see, and takes notes."""

    def __init__(self, strategy: StrategyPlugin) -> None:
        self.strategy = strategy
        self.record = Record()
        self.view: dict[Slot, Any] = {}
        self.at_last_step: dict[str, dict[str, Any]] = {}
        self.modes: dict[str, Any] = {}
        self.generators: dict[str, int] = {}
        self.batches: list[list[StorageWeakRef]] = []
        self.phase: tuple[str, int] = ("before", -1)

    @property
    def strategies(self) -> dict[str, StrategyPlugin]:
        """The composition: witness, strategy, witness."""
        return {"first": Witness(notice=self.before), NAME: self.strategy, "last": Witness(notice=self.after)}

    def read(self, side: str, experience: int) -> None:
        """Note that a sample has been read."""
        if (side, experience) != self.phase:
            self.record.foreign.add(Read(side, experience, *self.phase))

    def before(self, event: str, learner: Learner) -> None:
        """The witness that comes before the strategy."""
        if event == "before_training":
            learner.forget_prepared()  # prepared samples of earlier experiences could be read unseen
            self.generators = global_generators()
        elif event == "before_training_iteration":
            self.batches.append([StorageWeakRef(t.untyped_storage()) for t in batch_tensors(learner)])
            self._look_for_graphs()
        elif event == "loss_terms" and not torch.equal(learner.loss_terms["task"], learner.criterion()):
            self.record.other_objective = True
        elif event == "before_update":
            self._compare("edit_gradient", learner, {Slot.GRADIENT: digest(gradients(learner))})
        self.view = decided(event, learner)

    def after(self, event: str, learner: Learner) -> None:
        """The witness that comes after the strategy."""
        if event == "gradient_terms":
            self.view = {Slot.GRADIENT: digest(gradients(learner))}
        else:
            self._compare(event, learner, decided(event, learner))
        if event == "before_training_iteration":
            now = modes(learner)
            self._trace("module", self.modes if learner.step else now, now, "in another mode than a step before")
            self.modes = now
        elif event == "before_backward":
            for name, value in learner.loss_terms.items():
                if name != "task":
                    self._term(name, value)
                    self.record.loss_terms[_short(name)] = (
                        self.record.loss_terms.get(_short(name), False) or value.requires_grad
                    )
        elif event == "after_training_iteration":
            for name, function in learner.gradient_values.items():
                self.record.gradient_terms.add(_short(name))
                self._term(name, function())
        elif event == "after_training_epoch":
            self.at_last_step = model_digest(learner)
            added = (parameter for name, parameter in learner.model.named_parameters() if f".{ADDONS}." in name)
            self.record.adapted |= any(parameter.requires_grad for parameter in added)
        elif event == "after_training_exp":
            now = model_digest(learner)
            self._trace("module", self.at_last_step["modes"], now["modes"], "in another mode than after the last step")
            then = {name: value for name, value in self.at_last_step["buffers"].items() if is_of_backbone(name)}
            if not self.strategy.rewrites_weights:
                self._trace("buffer", then, now["buffers"], "another than after the last step")
        elif event == "after_training":
            now = model_digest(learner)
            self.record.rewrote |= _handed_over(now) != _handed_over(self.at_last_step)
            self.record.rewrote_buffers |= now["buffers"] != self.at_last_step["buffers"]
            self.record.draws |= {n for n, state in global_generators().items() if state != self.generators[n]}

    def end(self) -> None:
        """What can be said when everything is over."""
        if self._held():
            gc.collect()  # only now: it takes as long as a small experience
        self.record.held = self._held()

    def _held(self) -> int:
        alive = sum(any(not reference.expired() for reference in batch) for batch in self.batches)
        return max(0, alive - 2)  # the learner holds the last batch, a teacher may hold one before

    def _compare(self, event: str, learner: Learner, now: dict[Slot, Any]) -> None:
        for slot, value in now.items():
            if slot in self.view and self.view[slot] != value:
                self.record.edits.setdefault(slot, _moment(event, learner))

    def _trace(self, what: str, then: dict[str, Any], now: dict[str, Any], how: str) -> None:
        odd = [name for name, value in now.items() if name in then and then[name] != value]
        if odd:
            self.record.traces.append(f"{what} {odd[0]!r} is {how}")

    def _term(self, name: str, value: Any) -> None:
        if not isinstance(value, Tensor) or value.ndim:
            shape = f"of shape {list(value.shape)}" if isinstance(value, Tensor) else ""
            self.record.odd_terms.append(f"term {_short(name)!r} is a {type(value).__name__} {shape}".rstrip())
        elif not bool(value.isfinite()):
            self.record.odd_terms.append(f"term {_short(name)!r} is {float(value)}")

    def _look_for_graphs(self) -> None:
        for name, value in vars(self.strategy).items():
            for path, leaf in leaves(value):
                if isinstance(leaf, Tensor) and leaf.grad_fn is not None:
                    self.record.graphs.add(f"{name}{path}")


def witnessed(strategy: StrategyPlugin, setting: Setting) -> Record:
    """Let a strategy learn and answer between two witnesses, on data that tell when they are read."""
    observer, options = Observer(strategy), deepcopy(_options(strategy))
    try:
        _run(observer, setting)
    except Exception as error:  # noqa: BLE001  the check 'company' raises it
        observer.record.error = error
    observer.record.options = [name for name, value in _options(strategy).items() if options[name] != value]
    observer.end()
    return observer.record


def observed(subject: Subject) -> list[tuple[Setting, Record]]:
    """What was seen in every setting in which the strategy learns, in company as well as alone; looked at once."""
    settings = [trial.setting for trial in learned(subject)]
    records = [subject.once(("seen", s), lambda s=s: witnessed(subject.fresh(), s)) for s in settings]  # type: ignore[misc]
    return [(setting, record) for setting, record in zip(settings, records, strict=True) if record.error is None]


def _run(observer: Observer, setting: Setting) -> None:
    benchmark = rewritten(
        setting.benchmark(), lambda samples, side, experience: Watched(samples, side, experience, observer.read)
    )
    learner = setting.learner(benchmark, observer.strategies)
    for index, experience in enumerate(benchmark.train):
        observer.phase = ("train", index)
        learner.train(experience)
        answers = []
        for test in benchmark.test[: index + 1]:
            observer.phase = ("test", test.index)
            answers += snapshot(learner, observer.strategy, [test]).answers
        state = snapshot(learner, observer.strategy)
        observer.record.end = Snapshot(state.weights, state.state, answers)
    observer.record.teachers |= set(map(str, learner.teachers_asked))


def _options(strategy: StrategyPlugin) -> dict[str, Any]:
    return {f.name: getattr(strategy, f.name) for f in fields(strategy) if f.init}


def _moment(event: str, learner: Learner) -> str:
    where = "" if learner.experience is None else f" in experience {learner.experience.index}"
    return f"{event}{where}"


def _handed_over(digests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The weights that others may store; a router's are nobody's but its own."""
    return {name: value for name, value in digests["weights"].items() if not name.startswith("router.")}


def _short(term: str) -> str:
    return term.removeprefix(f"{NAME}/")
