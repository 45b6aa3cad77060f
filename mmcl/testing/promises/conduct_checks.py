"""How a strategy behaves: it learns, repeats itself, and disturbs nobody."""

from fnmatch import fnmatchcase

import torch

from mmcl.errors import ConfigError
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.learner import Learner
from mmcl.models.sites import ADDONS
from mmcl.streams.benchmark import Benchmark
from mmcl.testing.check import BrokenPromiseError, Check, NotApplicable, Subject, promise
from mmcl.testing.laboratory.nested import difference
from mmcl.testing.laboratory.setting import IMAGE_TOWER
from mmcl.testing.laboratory.trial import NAME, Trial, answers, disturbed, learn, learned
from mmcl.testing.laboratory.witness import observed, witnessed

_FROZEN = ("backbone.clip.visual*", "backbone.clip.[!v]*")  # the towers of the toy CLIP


@promise
def learns(strategy: Subject) -> None:
    """With enough steps the right classes become more likely."""
    trials = [trial for trial in learned(strategy, image_tower=False) if not trial.setting.raw]
    for trial in (trials[0], trials[-1]):
        benchmark = trial.setting.benchmark(1)
        learner = trial.setting.learner(benchmark, {NAME: strategy.fresh()}, iterations=40, lr=3e-3)
        learner.meet(benchmark.train[0])
        before = _log_likelihood(learner, benchmark)
        learner.train(benchmark.train[0])
        after = _log_likelihood(learner, benchmark)
        if not after > before:
            raise BrokenPromiseError(
                f"in {trial.setting} the log-likelihood of the training samples is {before:.3g} before and "
                f"{after:.3g} after 40 steps",
                "Look for a loss of the wrong sign, or for weights that are not trained.",
            )


@promise
def company(strategy: Subject) -> None:
    """Other strategies beside it, and the logging of its terms, change no number."""
    for trial in learned(strategy):
        record = strategy.once(("seen", trial.setting), lambda t=trial: witnessed(strategy.fresh(), t.setting))  # type: ignore[misc]
        if record.error is not None:
            raise BrokenPromiseError(
                f"in {trial.setting} beside two strategies that do nothing it raises "
                f"{type(record.error).__name__}: {record.error}",
                "Rely on what the learner offers, not on being alone.",
            ) from record.error
        assert record.end is not None
        if found := difference(record.end.weights, trial.end.weights):
            raise BrokenPromiseError(
                f"in {trial.setting} beside two strategies that do nothing, of the weights, {found}",
                "The functions that 'gradient_terms' returns must change nothing when they are called.",
            )


@promise
def determinism(strategy: Subject) -> None:
    """With the same seed it gives the same numbers bit by bit, whatever the global generators were."""
    for trial in learned(strategy):
        with disturbed(11):
            again = learn(trial.setting, strategy.fresh())
        for index, (now, then) in enumerate(zip(again.after, trial.after, strict=True)):
            if found := difference((now.weights, now.state, now.answers), (then.weights, then.state, then.answers)):
                raise BrokenPromiseError(
                    f"in {trial.setting}, learned twice, after experience {index}, {found.partition(']')[2]}",
                    "Draw from learner.generator(name), and depend on no order that may change.",
                )


@promise
def random_state(strategy: Subject) -> None:
    """In training it draws nothing from the global generators."""
    for setting, record in observed(strategy):
        # augmentation and dropout draw from torch's by themselves
        if record.draws and not setting.raw and setting != IMAGE_TOWER:
            raise BrokenPromiseError(
                f"in {setting} it uses the global generator of {min(record.draws)}",
                "Draw from learner.generator(name): else its presence changes the augmentation of others.",
            )


@promise
def options(strategy: Subject) -> None:
    """Training leaves its options as they were."""
    for setting, record in observed(strategy):
        if record.options:
            raise BrokenPromiseError(
                f"in {setting} option {record.options[0]!r} changes", "Keep what changes in 'state', not in an option."
            )


@promise
def evaluation(strategy: Subject) -> None:
    """Being evaluated changes nothing: neither the next answer nor what is learned later."""
    for trial in learned(strategy):
        assert trial.learner is not None
        twice = answers(trial.learner, trial.benchmark.test)
        if found := difference(twice, trial.end.answers):
            raise BrokenPromiseError(
                f"in {trial.setting} the second answer to the same samples: {found}", "Remember nothing at test time."
            )
        unseen = learn(trial.setting, strategy.fresh(), evaluate=False).end
        if found := difference((unseen.weights, unseen.state), (trial.end.weights, trial.end.state)):
            raise BrokenPromiseError(
                f"in {trial.setting}, without being evaluated, {found.partition(']')[2]}",
                "Learn nothing from test data and keep nothing of them.",
            )


@promise
def auxiliary_passes(strategy: Subject) -> None:
    """What it does beside the training step leaves modes and buffers of the backbone as they were."""
    for setting, record in observed(strategy):
        if record.traces:
            raise BrokenPromiseError(
                f"in {setting} {record.traces[0]}", "Wrap the pass in auxiliary_pass(learner.model)."
            )


@promise
def frozen_parameters(strategy: Subject) -> None:
    """What the user has frozen keeps its value bit by bit, with weight decay too."""
    trials, tried = [t for t in learned(strategy, image_tower=False) if not t.setting.raw], 0
    for trial in (trials[0], trials[-1]):
        for pattern in _FROZEN:
            try:
                frozen = learn(trial.setting, strategy.fresh(), evaluate=False, freeze=(pattern,), weight_decay=0.1)
            except ConfigError as error:
                if error.who != "training.freeze":
                    raise
                continue  # it freezes the rest itself: nothing is left to train
            tried += 1
            _require_same(trial, frozen, pattern)
    if not tried:
        raise NotApplicable("it trains nothing if a tower is frozen")


CONDUCT_CHECKS: tuple[Check, ...] = (
    learns,
    company,
    determinism,
    random_state,
    options,
    evaluation,
    auxiliary_passes,
    frozen_parameters,
)


def _require_same(trial: Trial, frozen: Trial, pattern: str) -> None:
    assert trial.start is not None
    for name, value in trial.start.weights.items():
        found = difference(frozen.end.weights.get(name), value)
        if found and fnmatchcase(name, pattern) and f".{ADDONS}." not in name:
            raise BrokenPromiseError(
                f"in {trial.setting}, with freeze = {pattern!r}, {name} changes ({found})",
                "Touch only parameters that need a gradient, and thaw none.",
            )


@torch.no_grad()
def _log_likelihood(learner: Learner, benchmark: Benchmark) -> float:
    """Mean over the training samples of the first experience, in evaluation mode."""
    with auxiliary_pass(learner.model):
        batches = learner.one_pass(benchmark.train[0].samples)
        return float(torch.cat([learner.log_likelihood(batch) for batch in batches]).double().mean())
