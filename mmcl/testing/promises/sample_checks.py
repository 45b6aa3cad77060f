"""What the samples of a benchmark promise."""

import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from mmcl.build import surroundings
from mmcl.data.asked import AnswerKind
from mmcl.data.nested import tensors
from mmcl.data.sample import SampleDataset
from mmcl.data.subset import Subset
from mmcl.errors import CompositionError
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.models.backbone import BackbonePlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.registry import BACKBONES, entries, load
from mmcl.streams.benchmark import Benchmark
from mmcl.testing.check import BrokenPromiseError, Check, NotApplicable, Subject, promise
from mmcl.testing.laboratory.edition import benchmark, digest, readings
from mmcl.testing.laboratory.nested import difference
from mmcl.testing.laboratory.trial import global_generators

_FEW = 8  # samples of a side that are enough to see whether something learns


@promise
def samples(plugin: Subject) -> None:
    """Samples are whole: they have values, ids of their own, their experience, and finished ones are tensors."""
    met: dict[str, str] = {}
    for (side, index), reading in readings(plugin).items():
        where = f"the {side} side of experience {index}"
        if reading.oddities:
            raise BrokenPromiseError(
                f"in {where} {reading.oddities[0]}", "Return what mmcl.data.sample.Sample describes."
            )
        if not reading.ids:
            raise BrokenPromiseError(
                f"{where} has no samples", "Give every experience something to learn and to answer."
            )
        odd = [id_ for id_ in reading.ids if not isinstance(id_, str) or not id_]
        if odd:
            raise BrokenPromiseError(f"in {where} {odd[0]!r} is a sample id", "Use strings.")
        twice = [id_ for id_, count in Counter(reading.ids).items() if count > 1]
        if twice:
            raise BrokenPromiseError(f"in {where} several samples have the id {twice[0]!r}", "Number what has no name.")
        foreign = [task for task in reading.task_ids if task != index]
        if foreign and not _common_test(plugin, side):
            raise BrokenPromiseError(
                f"in {where} a sample says it belongs to experience {foreign[0]}", "Correct task_id."
            )
        if side == "train":
            for id_ in reading.ids:
                if id_ in met:
                    raise BrokenPromiseError(
                        f"{where} and {met[id_]} share the sample id {id_!r}", "Add the data set's name."
                    )
                met[id_] = where


@promise
def targets(plugin: Subject) -> None:
    """Every class of an experience is shown in training, and no sample has another one."""
    stream = benchmark(plugin)
    if stream.objective.answers is not AnswerKind.CLASS:
        raise NotApplicable("its samples have no classes")
    for (side, index), reading in readings(plugin).items():
        space = stream.label_space if _common_test(plugin, side) else stream.experiences[index].label_space
        shown = {int(target) for target in reading.targets}
        if foreign := sorted(shown - set(space.ids)):
            raise BrokenPromiseError(
                f"a {side} sample of experience {index} has the class {foreign[0]}, which is not in its label space",
                "Targets are the ids of the label space, unique in the benchmark.",
            )
        if side == "train" and (hidden := [label.name for label in space if label.id not in shown]):
            raise BrokenPromiseError(
                f"no training sample of experience {index} has the class {hidden[0]!r}",
                "Leave it out of the label space, or give it samples.",
            )


@promise
def disjoint_sides(plugin: Subject) -> None:
    """No sample is both for training and for testing."""
    seen = readings(plugin)
    training = {id_: index for (side, index), r in seen.items() if side == "train" for id_ in r.ids}
    for (side, index), reading in seen.items():
        both = [id_ for id_ in reading.ids if side == "test" and id_ in training]
        if both:
            raise BrokenPromiseError(
                f"{both[0]!r} is a training sample of experience {training[both[0]]} and a test sample of {index}",
                "Split before reading, and name samples by their file.",
            )


@promise
def modalities(plugin: Subject) -> None:
    """The modalities of an experience are those that its samples have."""
    for index, data in enumerate(benchmark(plugin).experiences):
        found: set[str] = set()
        for side in ("train", "test"):
            for held in readings(plugin)[side, index].modalities:
                found |= held
        if found != set(data.modalities):
            raise BrokenPromiseError(
                f"experience {index} declares {sorted(data.modalities)}, and its samples have {sorted(found)}",
                "Declare what occurs.",
            )


@promise
def stable_samples(plugin: Subject) -> None:
    """A sample that is read again is the same, in a worker process too, and reading draws nothing at random."""
    for side, index, data_set in _sides(benchmark(plugin)):
        before = global_generators()
        reading = readings(plugin)[side, index]
        try:
            received = pickle.loads(pickle.dumps(data_set))
        except Exception as error:
            raise BrokenPromiseError(
                f"the {side} side of experience {index} cannot be sent to a worker process ({error})",
                "Hold paths and numbers, no open files or lambdas.",
            ) from error
        for position in {0, len(data_set) // 2, len(data_set) - 1}:
            for samples_, how in ((data_set, "a second time"), (received, "in a worker process")):
                again = samples_[position]
                if (again.sample_id, digest(again.inputs)) != (reading.ids[position], reading.values[position]):
                    raise BrokenPromiseError(
                        f"{side} sample {position} of experience {index} is another one {how}",
                        "Read without chance; augmentation is the backbone's business.",
                    )
        changed = [name for name, state in global_generators().items() if state != before[name]]
        if changed:
            raise BrokenPromiseError(f"reading uses the global generator of {changed[0]}", "Read without chance.")


@promise
def reference_data(plugin: Subject) -> None:
    """Reference data have images and texts, and none of the stream's samples."""
    stream = benchmark(plugin)
    if stream.reference is None:
        raise NotApplicable("it has no reference data")
    images, texts = stream.reference.images, stream.reference.texts
    if not len(images) or not len(texts) or not all(isinstance(text, str) and text for text in texts):
        raise BrokenPromiseError(
            f"it has {len(images)} reference images and {len(texts)} texts, or texts without a word", "Leave them out."
        )
    digests = {value for reading in readings(plugin).values() for value in reading.values}
    for position in range(0, len(images), max(1, len(images) // 50)):
        sample = images[position]
        if digest(sample.inputs) in digests:
            raise BrokenPromiseError(f"reference image {sample.sample_id!r} is in the stream too", "Draw others.")


@promise
def learns(plugin: Subject) -> None:
    """Fine-tuning learns its first experience in miniature, and its metric scores the answers."""
    stream = benchmark(plugin)
    mini = _backbone_for(plugin)
    first = stream.experiences[0]
    few = replace(first, train=_few(first.train), test=_few(first.test))
    small = Benchmark(
        name=stream.name,
        edition=stream.edition,
        scenario=stream.scenario,
        experiences=[few],
        objective=stream.objective,
        metric=stream.metric,
    )
    learner = Learner(
        model=MultimodalModel(mini.miniature()),
        scenario=small.scenario,
        training={"iterations": 2, "batch_size": 4, "lr": 1e-3, "device": "cpu"},
        objective=small.objective,
    )
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    learner.train(small.train[0])
    if not difference(dict(learner.model.state_dict()), before):
        raise BrokenPromiseError("two training steps change no weight", "Look at the samples of the first experience.")
    if not all(bool(value.isfinite().all()) for _, value in tensors(dict(learner.model.state_dict()))):
        raise BrokenPromiseError("after two steps the weights are not finite", "Look for values that are not finite.")
    score = learner.evaluate(small.test[0], small.metric)
    if score != score:
        raise BrokenPromiseError(f"the metric {small.metric.name!r} gives {score}", "Give it something to count.")


SAMPLE_CHECKS: tuple[Check, ...] = (
    samples,
    targets,
    disjoint_sides,
    modalities,
    stable_samples,
    reference_data,
    learns,
)


def _sides(stream: Benchmark) -> Iterator[tuple[str, int, SampleDataset]]:
    for index, data in enumerate(stream.experiences):
        yield "train", index, data.train
        yield "test", index, data.test


def _common_test(plugin: Subject, side: str) -> bool:
    return side == "test" and benchmark(plugin).common_test is not None


def _few(data_set: SampleDataset) -> Subset:
    step = max(1, len(data_set) // _FEW)
    return Subset(data_set, range(0, len(data_set), step)[:_FEW])


def _backbone_for(plugin: Subject) -> BackbonePlugin:
    """The first registered backbone that encodes what the benchmark shows and has a miniature."""
    reason = "no backbone is registered"
    for entry in entries(BACKBONES):
        backbone: BackbonePlugin = load(BACKBONES, entry.qualified)()
        try:
            check_composition([], [], surroundings(backbone, plugin.plugin))
            backbone.miniature()
        except (CompositionError, NotImplementedError) as refusal:
            reason = str(refusal)
        else:
            return backbone
    raise NotApplicable(f"no registered backbone learns it: {reason}")
