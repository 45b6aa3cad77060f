"""Which data a strategy sees, and that it copes with all of them."""

from dataclasses import replace

from mmcl.data.collate import TensorSamples
from mmcl.data.nested import tensors
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.experience import Experience
from mmcl.testing.check import BrokenPromiseError, Check, NotApplicable, Subject, promise
from mmcl.testing.laboratory.nested import difference
from mmcl.testing.laboratory.trial import Trial, alone, answers, composed, learn, learned
from mmcl.testing.laboratory.witness import observed
from mmcl.testing.toy.samples import Disguised, filled, rewritten


@promise
def hidden_experience(strategy: Subject) -> None:
    """Where the experience of a test sample is hidden, its answer does not depend on it."""
    trials = [t for t in learned(strategy, image_tower=False) if not t.setting.scenario.task_id_known_at_test]
    if not trials:
        raise NotApplicable("it composes with no scenario that hides the experience at test time")
    for trial in trials:
        assert trial.learner is not None
        for true, claimed in ((0, 1), (1, 0)):
            samples = trial.benchmark.experiences[true].test
            said = []
            for index in (true, claimed):
                data = trial.benchmark.experiences[index]
                dressed = Disguised(samples, index)
                # labels would give it away: what competes are all classes met so far, in either disguise
                test = Experience(replace(data, train=dressed, test=dressed), dressed, index)
                said.append(answers(trial.learner, [test]))
            if found := difference(said[0], said[1]):
                raise BrokenPromiseError(
                    f"in {trial.setting} the scores of the same samples {found.partition(' ')[2]} if they are said to "
                    f"belong to experience {claimed} instead of {true}",
                    "Infer the experience from the inputs, not from 'learner.current', sample ids or task ids; or "
                    "refuse scenarios that hide it.",
                )


@promise
def own_data(strategy: Subject) -> None:
    """In training it reads the data of the current experience, of others only what it declares, and no test data."""
    whole = strategy.plugin.order == "at once"
    again = strategy.plugin.memory_budget().references != 0
    for setting, record in observed(strategy):
        for read in sorted(record.foreign):
            if read.side == "test" or not (whole or (again and read.is_earlier)):
                raise BrokenPromiseError(
                    f"in {setting} it reads {read}",
                    "Keep copies of samples in 'state', within memory_budget(); or declare references there, or "
                    "order = 'at once'.",
                )


@promise
def future(strategy: Subject) -> None:
    """What it does depends on the experiences to come exactly if it learns all experiences at once."""
    declared = strategy.plugin.order == "at once"
    depending = []
    for trial in learned(strategy, image_tower=False):
        otherwise = learn(
            trial.setting, strategy.fresh(), benchmark=_other_future(trial), experiences=1, evaluate=False
        )
        if found := difference(otherwise.end.weights, trial.after[0].weights):
            depending.append((trial.setting, found))
    if depending and not declared:
        setting, found = depending[0]
        raise BrokenPromiseError(
            f"in {setting} the first experience is learned otherwise if others follow it ({found})",
            "Declare order = 'at once', or look at the current experience alone.",
        )
    if declared and not depending:
        raise BrokenPromiseError(
            "it declares to learn all experiences at once, and its future changes nothing",
            "Remove order = 'at once'.",
        )


@promise
def missing_modalities(strategy: Subject) -> None:
    """What stands in for a missing modality changes nothing."""
    trials = [t for t in learned(strategy, image_tower=False) if t.setting.scenario.modalities_change]
    if not trials:
        raise NotApplicable("it composes with no scenario whose samples may lack a modality")
    for trial in trials:
        stand_ins = rewritten(
            trial.benchmark,
            lambda samples, *_: filled(samples, 5.0, 7) if isinstance(samples, TensorSamples) else samples,
        )
        other = learn(trial.setting, strategy.fresh(), benchmark=stand_ins).end
        if found := difference(other.weights, trial.end.weights, 1e-6) or difference(
            other.answers, trial.end.answers, 1e-5
        ):
            raise BrokenPromiseError(
                f"in {trial.setting}, if missing values are filled with something else, {found}",
                "Consult 'inputs.present' wherever features of single modalities are used.",
            )


@promise
def batch_of_one(strategy: Subject) -> None:
    """It learns from batches of one sample."""
    _require_finite(strategy, "with batches of one sample", 6, 2, batch_size=1, iterations=2)


@promise
def one_class(strategy: Subject) -> None:
    """It learns experiences of a single class."""
    _require_finite(strategy, "with one class in each experience", 6, 1)


DATA_CHECKS: tuple[Check, ...] = (hidden_experience, own_data, future, missing_modalities, batch_of_one, one_class)


def _other_future(trial: Trial) -> Benchmark:
    """A stream with the same first experience, and more and other ones after it."""
    benchmark = trial.setting.benchmark(len(trial.benchmark.experiences) + 1, seed=5)
    first, *later = benchmark.experiences
    same = trial.benchmark.experiences[0]
    assert first.label_space == same.label_space
    return Benchmark(
        name=benchmark.name,
        edition=benchmark.edition,
        scenario=benchmark.scenario,
        experiences=[same, *later],
        training=benchmark.training,
        reference=trial.benchmark.reference,
        objective=benchmark.objective,
    )


def _require_finite(strategy: Subject, when: str, per_class: int, classes: int, **training: int) -> None:
    next(learned(strategy))
    for setting in composed(strategy):
        if alone(strategy, setting).error is not None:
            continue
        stream = setting.benchmark(2, per_class=per_class, classes=classes)
        try:
            end = learn(setting, strategy.fresh(), benchmark=stream, evaluate=False, **training).end
        except Exception as error:
            raise BrokenPromiseError(
                f"in {setting} {when} it raises {type(error).__name__}: {error}",
                "Let batches and experiences be as small as they come.",
            ) from error
        for name, tensor in tensors(end.weights):
            if not bool(tensor.isfinite().all()):
                raise BrokenPromiseError(
                    f"in {setting} {when} the weight {name} is not finite", "Mind divisions by zero."
                )
