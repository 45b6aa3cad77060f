"""What a strategy remembers can be saved, moved and continued from, and stays within its budget."""

import io
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from mmcl.data.collate import TensorSamples
from mmcl.data.modality import IMAGE
from mmcl.data.nested import leaves, nbytes, tensors
from mmcl.errors import MMCLError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.testing.check import BrokenPromiseError, Check, NotApplicable, Subject, promise
from mmcl.testing.laboratory.nested import difference
from mmcl.testing.laboratory.trial import NAME, Trial, answers, learn, learned, snapshot

_SMALL = 5  # samples, fewer than an experience of the toy stream has


@promise
def resumption(strategy: Subject) -> None:
    """Saved and continued by fresh objects, it goes on bit by bit as if it had never stopped."""
    for trial in learned(strategy):
        resumed = learn(trial.setting, strategy.fresh(), experiences=0)
        for index, experience in enumerate(trial.benchmark.train):
            if index == len(trial.after) - 1:
                _require_same_answers(trial, resumed, strategy, index)
            resumed = _reborn(resumed, strategy)
            assert resumed.learner is not None
            resumed.learner.train(experience)
            now = snapshot(resumed.learner, resumed.strategy, trial.benchmark.test[: index + 1])
            then = trial.after[index]
            for what, one, other in (
                ("of the weights,", now.weights, then.weights),
                ("of the state,", now.state, then.state),
                ("of the answers,", now.answers, then.answers),
            ):
                if found := difference(one, other):
                    raise BrokenPromiseError(
                        f"in {trial.setting}, continued before experience {index}: {what} {found}",
                        "Keep what survives an experience in 'state' or in the model, and draw from "
                        "learner.generator(name).",
                    )


@promise
def loadable_state(strategy: Subject) -> None:
    """Its state is loaded without running code: it holds tensors, numbers, strings, lists and dictionaries."""
    for trial in learned(strategy):
        buffer = io.BytesIO()
        try:
            torch.save(trial.strategy.state_dict(), buffer)
            buffer.seek(0)
            loaded = torch.load(buffer, weights_only=True)
        except Exception as error:
            first = str(error).strip().splitlines()[0]
            raise BrokenPromiseError(
                f"in {trial.setting} the state cannot be loaded with weights_only=True ({first})",
                "Keep tensors, numbers, strings, lists and dictionaries.",
            ) from error
        if found := difference(loaded, trial.strategy.state_dict()):
            raise BrokenPromiseError(f"in {trial.setting}, saved and loaded again, {found}", "Keep plain values.")


@promise
def own_tensors(strategy: Subject) -> None:
    """The tensors in its state are its own: no views, no graphs, nothing shared with model or data."""
    for trial in learned(strategy):
        assert trial.learner is not None
        others = {t.untyped_storage().data_ptr(): "the model" for _, t in tensors(trial.learner.model.state_dict())}
        others |= {t.untyped_storage().data_ptr(): "the data set" for t in _data(trial)}
        for path, tensor in tensors(trial.strategy.state_dict()):
            storage = tensor.untyped_storage()
            found = ""
            if tensor.requires_grad:
                found = "needs a gradient"
            elif tensor.numel() and storage.data_ptr() in others:
                found = f"shares its memory with {others[storage.data_ptr()]}"
            elif storage.nbytes() > tensor.nbytes:
                found = f"is a view of {tensor.nbytes} bytes that keeps {storage.nbytes()}"
            if found:
                raise BrokenPromiseError(f"in {trial.setting} {path} {found}", "Store tensor.detach().clone().")


@promise
def devices(strategy: Subject) -> None:
    """Its state goes to the device on which a run is continued, and nothing in it knows a device beforehand."""
    fresh = strategy.fresh()
    for name, value in {**vars(type(fresh)), **vars(fresh)}.items():
        for _, leaf in leaves(value) if not name.startswith("__") else ():
            if isinstance(leaf, (Tensor, torch.device)):
                raise BrokenPromiseError(
                    f"before there is a learner, {name!r} holds a {type(leaf).__name__}",
                    "Make it in a hook, on learner.device.",
                )
    for trial in learned(strategy):
        moved = strategy.fresh()
        moved.load_state_dict(trial.strategy.state_dict(), "meta")  # a device that every machine has
        left = [path for path, tensor in tensors(moved.state_dict()) if tensor.device.type != "meta"]
        if left:
            raise BrokenPromiseError(
                f"in {trial.setting}, loaded on another device, {left[0]} stays where it was",
                "Keep tensors in lists and dictionaries, and leave load_state_dict to the base class.",
            )
    if torch.cuda.is_available():
        for trial in learned(strategy):
            on_gpu = learn(trial.setting, strategy.fresh(), experiences=1, device="cuda")
            again = _reborn(on_gpu, strategy, device="cuda")
            assert again.learner is not None
            again.learner.train(trial.benchmark.train[1])


@promise
def memory_budget(strategy: Subject) -> None:
    """It keeps no more samples and bytes than its memory budget says."""
    small = with_memory_of(strategy, _SMALL)
    budget = small.memory_budget()
    if budget.samples is None and budget.nbytes is None:
        raise NotApplicable("it may keep as much as it likes")
    trials = [t for t in learned(strategy) if not t.setting.raw and not t.setting.scenario.modalities_change]
    if budget != strategy.plugin.memory_budget():
        trials = [learn(trial.setting, with_memory_of(strategy, _SMALL), evaluate=False) for trial in trials]
    for trial in trials:
        for index, after in enumerate(trial.after):
            kept = _kept_samples(trial, after.state)
            if budget.samples is not None and kept > budget.samples:
                raise BrokenPromiseError(
                    f"in {trial.setting}, with room for {budget.samples} samples, it keeps {kept} after experience "
                    f"{index}",
                    "Keep fewer, or let memory_budget() tell.",
                )
            if budget.nbytes is not None and nbytes(after.state) > budget.nbytes:
                raise BrokenPromiseError(
                    f"in {trial.setting}, with room for {budget.nbytes} bytes, it keeps {nbytes(after.state)}",
                    "Keep less, or let memory_budget() tell.",
                )


@promise
def empty_memory(strategy: Subject) -> None:
    """It learns with a memory that has no room for a sample."""
    empty = with_memory_of(strategy, 0)
    if empty.memory_budget().samples or not strategy.plugin.memory_budget().samples:
        raise NotApplicable("it has no memory that an option could leave without room")
    for trial in learned(strategy):
        try:
            learn(trial.setting, with_memory_of(strategy, 0), experiences=2)
        except Exception as error:
            raise BrokenPromiseError(
                f"in {trial.setting} without room it raises {type(error).__name__}: {error}",
                "Let an empty memory change nothing, or refuse the option.",
            ) from error


STATE_CHECKS: tuple[Check, ...] = (resumption, loadable_state, own_tensors, devices, memory_budget, empty_memory)


def _require_same_answers(trial: Trial, resumed: Trial, strategy: Subject, index: int) -> None:
    """What was saved answers as before, also if nothing is learned any more."""
    loaded = _reborn(resumed, strategy)
    assert loaded.learner is not None
    if found := difference(answers(loaded.learner, trial.benchmark.test[:index]), trial.after[index - 1].answers):
        raise BrokenPromiseError(
            f"in {trial.setting}, loaded after experience {index - 1}: of the answers, {found}",
            "Keep what a prediction needs in 'state' or in the model.",
        )


def _reborn(trial: Trial, strategy: Subject, **training: Any) -> Trial:
    """New objects that take up what the old ones left."""
    assert trial.learner is not None
    buffer = io.BytesIO()
    torch.save((model_tensors(trial.learner.model, trial.learner.untouched), trial.strategy.state_dict()), buffer)
    buffer.seek(0)
    weights, state = torch.load(buffer, weights_only=False)
    fresh = strategy.fresh()
    benchmark = trial.setting.benchmark()
    learner: Learner = trial.setting.learner(benchmark, {NAME: fresh}, **training)
    for met in trial.learner.seen:
        learner.meet(benchmark.train[met.index])
    learner.untouched = restore_model(learner.model, weights)
    fresh.load_state_dict(state, learner.device)
    for name, value in vars(trial.learner.clock).items():
        if isinstance(value, int):
            setattr(learner.clock, name, value)
    return Trial(trial.setting, fresh, benchmark, learner)


def with_memory_of(strategy: Subject, samples: int) -> StrategyPlugin:
    """The strategy with a memory of at most that many samples, if a whole number among its options decides it."""
    plain: StrategyPlugin = strategy.fresh()
    if plain.memory_budget().samples in (0, None):
        return plain
    for option in fields(plain):
        if option.init and type(getattr(plain, option.name)) is int:
            try:
                smaller: StrategyPlugin = strategy.fresh(**{option.name: samples})
            except MMCLError:
                continue
            kept = smaller.memory_budget().samples
            if kept is not None and kept <= samples:
                return smaller
    return plain


def _data(trial: Trial) -> Iterator[Tensor]:
    for data in trial.benchmark.experiences:
        for samples in (data.train, data.test):
            if isinstance(samples, TensorSamples):
                yield from samples.values.values()
                yield samples.targets


def _kept_samples(trial: Trial, state: dict[str, Any]) -> int:
    """Images in a state that are images of the stream, wherever and in whatever form they are kept."""
    images = [d.train.values[IMAGE] for d in trial.benchmark.experiences if isinstance(d.train, TensorSamples)]
    stream = torch.cat(images).flatten(1)
    kept = 0
    for _, tensor in tensors(state):
        if tensor.numel() and tensor.numel() % stream.shape[1] == 0 and tensor.is_floating_point():
            distances = torch.cdist(tensor.float().reshape(-1, stream.shape[1]), stream)
            kept += int((distances.min(1).values < 1e-2 * stream.shape[1] ** 0.5).sum())
    return kept
