"""What a strategy declares is what it does: needs, slots, terms, teachers."""

from warnings import catch_warnings, simplefilter

import torch

from mmcl.learning.compose import Need, Slot
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import GradientValues, StrategyPlugin
from mmcl.learning.teachers import policy_of
from mmcl.learning.timeline import METHOD_OF_SLOT
from mmcl.testing.check import BrokenPromiseError, Check, NotApplicable, Subject, promise
from mmcl.testing.laboratory.nested import difference
from mmcl.testing.laboratory.setting import CLASS_SETTING, IMAGE_TOWER, PAIR_SETTING, TEXT_TOWER, Setting
from mmcl.testing.laboratory.trial import NAME, Trial, learn, learned
from mmcl.testing.laboratory.witness import observed
from mmcl.testing.toy import toy_benchmark

EDITS = {  # what only the occupant of a slot may change
    Slot.BATCHES: "the batch or its loader",
    Slot.OBJECTIVE: "the loss",
    Slot.GRADIENT: "the gradient",
    Slot.HEAD: "the head or the scores",
    Slot.FUSION: "the fusion",
}
WITHOUT = {  # settings in which a need is not met
    Need.IMAGE_ENCODER: TEXT_TOWER,
    Need.TEXT_ENCODER: IMAGE_TOWER,
    Need.CLASSES: PAIR_SETTING,
    Need.PAIRS: CLASS_SETTING,
}


@promise
def undeclared_needs(strategy: Subject) -> None:
    """It works without what it does not declare to need."""
    needed = strategy.plugin.requirements()
    for need in (Need.IMAGE_ENCODER, Need.TEXT_ENCODER):  # the others are missing where 'trains' trains
        setting = WITHOUT[need]
        if need in needed or setting.refusal(strategy.plugin, strategy.name):
            continue
        try:
            learn(setting, strategy.fresh())
        except Exception as error:
            raise BrokenPromiseError(
                f"without {need.what} it raises {type(error).__name__}: {error}",
                f"Add Need.{need.name} to 'needs', or do without.",
            ) from error
    if Need.REFERENCE_DATA not in needed:
        for trial in learned(strategy):
            _require_same_without_reference(strategy, trial)


@promise
def unneeded_needs(strategy: Subject) -> None:
    """It cannot do without what it declares to need."""
    needed = strategy.plugin.requirements()
    if not needed & {*WITHOUT, Need.REFERENCE_DATA}:
        raise NotApplicable("it declares no need that could be taken away")
    for need in sorted(needed & set(WITHOUT), key=lambda need: need.name):
        if _works(WITHOUT[need], strategy):
            raise BrokenPromiseError(f"it learns without {need.what} too", f"Remove Need.{need.name} from 'needs'.")
    if Need.REFERENCE_DATA in needed:
        trial = next(learned(strategy))
        other = trial.setting.benchmark()
        other.reference = toy_benchmark(seed=7).reference
        if not difference(learn(trial.setting, strategy.fresh(), benchmark=other).end.weights, trial.end.weights):
            raise BrokenPromiseError(
                f"other {Need.REFERENCE_DATA.what} change nothing", "Remove Need.REFERENCE_DATA from 'needs'."
            )


@promise
def slots(strategy: Subject) -> None:
    """It does something with every slot that it takes."""
    taken = strategy.plugin.slots - {Slot.ROUTE}
    if not taken:
        raise NotApplicable("it takes no slot whose use can be seen")
    seen = [record for _, record in observed(strategy)]
    used = {slot for record in seen for slot in record.edits} | (
        {Slot.OBJECTIVE} if any(record.other_objective for record in seen) else set()
    )
    # whoever builds the batches may build the usual ones, and look at them on the way
    used |= {Slot.BATCHES} if strategy.plugin.overrides("training_batches") else set()
    if idle := sorted(slot.name for slot in taken - used):
        raise BrokenPromiseError(
            f"it takes slot {idle[0]} and nothing is different for it",
            "Remove it from 'slots': it keeps others from composing.",
        )


@promise
def foreign_slots(strategy: Subject) -> None:
    """It leaves alone what belongs to the occupant of a slot that it does not take."""
    taken = strategy.plugin.slots
    for slot, method in METHOD_OF_SLOT.items():
        if slot not in taken and strategy.plugin.overrides(method):
            raise BrokenPromiseError(
                f"it defines {method!r} without taking slot {slot.name}, so nobody calls it",
                f"Add Slot.{slot.name} to 'slots', or remove the method.",
            )
    additive = 0
    for setting, record in observed(strategy):
        for slot, moment in record.edits.items():
            if slot not in taken:
                raise BrokenPromiseError(
                    f"in {setting} it changes {EDITS[slot]} in {moment}", f"Add Slot.{slot.name} to 'slots', or do not."
                )
        if Slot.GRADIENT not in taken and record.gradient_terms and not additive:
            _require_additive(strategy, setting)
            additive += 1  # once will do: two runs more


@promise
def terms(strategy: Subject) -> None:
    """The terms that it declares are those that it gives, each a finite scalar with a gradient."""
    declared, seen = strategy.plugin.terms(), [record for _, record in observed(strategy)]
    given = {name: any(r.loss_terms.get(name) for r in seen) for r in seen for name in r.loss_terms}
    added = {name for record in seen for name in record.gradient_terms}
    for side, said, done in (("loss", set(declared.loss), set(given)), ("gradient", set(declared.gradient), added)):
        if hidden := sorted(done - said):
            raise BrokenPromiseError(f"it gives the {side} term {hidden[0]!r} unsaid", "Name it in terms().")
        if absent := sorted(said - done):
            raise BrokenPromiseError(
                f"it never gives the {side} term {absent[0]!r}",
                "Remove it from terms(), whose names depend on the options.",
            )
    if odd := [sentence for record in seen for sentence in record.odd_terms]:
        raise BrokenPromiseError(odd[0], "Give a tensor without dimensions and a finite value.")
    if constant := sorted(name for name, differentiable in given.items() if not differentiable):
        raise BrokenPromiseError(f"loss term {constant[0]!r} never has a gradient", "Do not detach it from the model.")


@promise
def teachers(strategy: Subject) -> None:
    """It reads the teachers that it declares, and no other."""
    declared = {str(policy_of(name)) for name in strategy.plugin.teachers}
    read = {name for _, record in observed(strategy) for name in record.teachers}
    if hidden := sorted(read - declared):
        raise BrokenPromiseError(
            f"it reads the teacher {hidden[0]!r}, which is there only if another strategy declares it",
            f"Add {hidden[0]!r} to 'teachers'.",
        )
    if idle := sorted(declared - read):
        raise BrokenPromiseError(
            f"it never reads the teacher {idle[0]!r}", "Remove it from 'teachers': it costs the memory of a model."
        )


@promise
def adapted_features(strategy: Subject) -> None:
    """It declares whether it adds to the backbone what steps train."""
    adapting = [setting for setting, record in observed(strategy) if record.adapted]
    if adapting and not strategy.plugin.adapts:
        raise BrokenPromiseError(
            f"in {adapting[0]} steps train what it adds to the backbone",
            "Declare adapts = True, so that nobody beside it takes the features for fixed.",
        )
    if strategy.plugin.adapts and not adapting:
        raise BrokenPromiseError(
            "it declares adapts and adds nothing to the backbone that is trained",
            "Remove the declaration: it keeps others from composing.",
        )


@promise
def rewritten_weights(strategy: Subject) -> None:
    """It declares whether it changes the weights at the end of an experience."""
    declared = strategy.plugin.rewrites_weights
    changing = [setting for setting, record in observed(strategy) if record.rewrote]
    if changing and not declared:
        raise BrokenPromiseError(
            f"in {changing[0]} the weights change between the last step and the end of an experience",
            "Declare rewrites_weights = True, so that others store the weights that are handed over.",
        )
    if declared and not any(record.rewrote_buffers for _, record in observed(strategy)) and not changing:
        raise BrokenPromiseError(
            "it declares rewrites_weights and never changes weights or buffers after the last step",
            "Remove the declaration.",
        )


DECLARATION_CHECKS: tuple[Check, ...] = (
    undeclared_needs,
    unneeded_needs,
    slots,
    foreign_slots,
    terms,
    teachers,
    adapted_features,
    rewritten_weights,
)


def _works(setting: Setting, strategy: Subject) -> bool:
    """Whether it learns there, and answers otherwise than before."""
    try:
        with catch_warnings():
            simplefilter("ignore")  # what does not work may complain
            first, second = (learn(setting, strategy.fresh(), experiences=count) for count in (1, 2))
    except Exception:  # noqa: BLE001  how it fails does not matter
        return False
    return bool(difference(first.end.answers[:1], second.end.answers[:1]))


def _require_same_without_reference(strategy: Subject, trial: Trial) -> None:
    need, bare = Need.REFERENCE_DATA, trial.setting.benchmark()
    bare.reference = None
    try:
        without = learn(trial.setting, strategy.fresh(), benchmark=bare, experiences=2, evaluate=False)
    except Exception as error:
        raise BrokenPromiseError(
            f"without {need.what} it raises {type(error).__name__}: {error}",
            f"Add Need.{need.name} to 'needs', or do without.",
        ) from error
    if difference(without.end.weights, trial.after[1].weights):
        raise BrokenPromiseError(
            f"{need.what} change what it does, although it does not declare to need them",
            f"Add Need.{need.name} to 'needs'.",
        )


def _require_additive(strategy: Subject, setting: Setting) -> None:
    """What ``gradient_terms`` adds must not depend on the gradient that is there."""
    added = []
    for before in (0.0, 1.0):
        benchmark, first, last = setting.benchmark(2), _Gradients(before), _Gradients(0.0)
        learner = setting.learner(benchmark, {"first": first, NAME: strategy.fresh(), "last": last}, iterations=1)
        for experience in benchmark.train:
            learner.train(experience)
        added.append({name: value - first.seen[name] for name, value in last.seen.items()})
    largest = max((float(value.abs().max()) for value in added[0].values()), default=0.0)
    if difference(added[0], added[1], tolerance=1e-5 + 1e-4 * largest):
        raise BrokenPromiseError(
            f"in {setting} what 'gradient_terms' adds depends on the gradient that is there",
            "Add Slot.GRADIENT to 'slots' and edit the gradient in 'edit_gradient'.",
        )


class _Gradients(StrategyPlugin):
    """Adds a number to every gradient of the second experience, and keeps the sum."""

    def __init__(self, number: float) -> None:
        self.number = number
        self.seen: dict[str, torch.Tensor] = {}

    def gradient_terms(self, learner: Learner) -> GradientValues:
        """At the first step of the second experience both runs have the same weights."""
        for name, parameter in learner.model.named_parameters():
            if parameter.grad is not None and learner.current.index == 1:
                parameter.grad.add_(self.number)
                self.seen[name] = parameter.grad.clone()
        return {}
