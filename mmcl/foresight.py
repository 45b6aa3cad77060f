"""Foresight: what can be known of a run before it trains. What cannot be meant is refused, the rest are remarks."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from mmcl.config import TrainingConfig
from mmcl.data.asked import AnswerKind
from mmcl.data.captions import one_of
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import TEXT
from mmcl.data.sample import Sample
from mmcl.errors import DataError
from mmcl.learning.schedule import unreached
from mmcl.models.backbone import Backbone
from mmcl.models.heads import Head
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.benchmark import Benchmark

FEW_STEPS = 10
_SHOWN = 3


def foreseen(benchmark: Benchmark, settings: Sequence[TrainingConfig], model: MultimodalModel) -> Iterator[str]:
    """What should be said before training, a sentence each.

    Args:
        benchmark: the whole stream.
        settings: of every experience.
        model: as strategies have adapted it.

    Raises:
        DataError: if values are none that the model takes.
    """
    check_ready(benchmark, model.backbone)
    if benchmark.objective.answers is AnswerKind.CLASS:
        yield from single_classes(benchmark, settings)
        yield from alike_prompts(benchmark, model.head)
    steps = {data.name: of.steps(len(data.train)) for data, of in zip(benchmark.experiences, settings, strict=True)}
    yield from short_trainings(steps)
    if sentence := unreached({name: of.warmup for name, of in zip(steps, settings, strict=True)}, steps):
        yield sentence


def single_classes(benchmark: Benchmark, settings: Sequence[TrainingConfig]) -> Iterator[str]:
    """Experiences in which one class competes with nothing: the softmax over it is 1, the loss 0."""
    own = benchmark.scenario.label_space_at_test == "own"
    seen, alone = LabelSpace(), []
    for data, config in zip(benchmark.experiences, settings, strict=True):
        seen = seen.union(data.label_space)
        competing = data.label_space if own or config.own_classes else seen
        if len(competing) == 1:
            alone.append(f"{data.name!r} (class {competing.names[0]!r})")
    if alone:
        remedy = "Choose scenario CIL, or give" if own else "Leave out own_classes where it is set, and give"
        yield (
            f"In {_some(alone)} a single class competes with nothing: the loss is 0, nothing is learned, and a score "
            f"of 100 % says nothing. {remedy} every experience two classes or more."
        )


def short_trainings(steps: Mapping[str, int]) -> Iterator[str]:
    """Experiences that end before anything can have been learned, by their number of steps."""
    short = [f"{name!r} ({count})" for name, count in steps.items() if count < FEW_STEPS]
    if short:
        yield (
            f"{len(short)} of {len(steps)} experiences get fewer than {FEW_STEPS} training steps, in which little can "
            f"be learned: {_some(short)}. Raise epochs or iterations, or lower batch_size."
        )


def alike_prompts(benchmark: Benchmark, head: Head) -> Iterator[str]:
    """Classes that compete under other names and the same tokens, so that the head can never tell them apart."""
    own = benchmark.scenario.label_space_at_test == "own"
    for space in [data.label_space for data in benchmark.experiences] if own else [benchmark.label_space]:
        for labels in head.alike(space.for_training):
            classes = _some([f"{label.id} {label.name!r}" for label in labels])
            yield (
                f"The prompts of the classes {classes} are the same tokens, so that the head cannot tell them apart: "
                "names are cut where the text tower's context ends, or have letters that its tokeniser does not know. "
                "Give them shorter names, in words that it knows."
            )


def check_ready(benchmark: Benchmark, backbone: Backbone) -> None:
    """Compare the first sample of every side with what the backbone takes, as it is or after its preprocessing.

    Raises:
        DataError: if it cannot be prepared, or if shape or type is another one.
    """
    for data in benchmark.experiences:
        for samples in (data.train, data.test):
            if len(samples):
                sample = samples[0]
                (_check_values if sample.finished else _check_prepared)(sample, backbone)


def _check_values(sample: Sample, backbone: Backbone) -> None:
    for modality, value in sample.inputs.items():
        spec = backbone.specs.get(modality)
        if spec is not None and (tuple(value.shape), value.dtype) != (spec.shape, spec.dtype):
            raise DataError(
                f"sample {sample.sample_id}",
                found=f"{modality} {_kind(value.dtype, value.shape)}, said to be ready for the model",
                allowed=f"{_kind(spec.dtype, spec.shape)}, as the backbone takes it",
                remedy="Preprocess as the backbone does, or hand over raw values and let it do that.",
            )


def _check_prepared(sample: Sample, backbone: Backbone) -> None:
    for modality, value in sample.inputs.items():
        spec, prepare = backbone.specs.get(modality), backbone.preprocess_eval.get(modality)
        if spec is None or prepare is None:
            continue
        try:
            prepared = prepare(one_of(value, drawn=False) if modality == TEXT else value)
        except Exception as error:
            raise DataError(
                f"sample {sample.sample_id}",
                found=f"{modality} of type {type(value).__name__}, which the backbone cannot prepare ({error})",
                allowed=f"values that become {_kind(spec.dtype, spec.shape)}",
                remedy="Give all values the type and size that the backbone names.",
            ) from error
        if tuple(prepared.shape) != spec.shape:
            raise DataError(
                f"sample {sample.sample_id}",
                found=f"{modality} of shape {list(prepared.shape)} after preprocessing",
                allowed=f"{list(spec.shape)}, as the backbone takes it",
                remedy="Cut or pad the values to one size, or choose a backbone for this one.",
            )


def _some(facts: Sequence[str]) -> str:
    return ", ".join(facts[:_SHOWN]) + (f" and {len(facts) - _SHOWN} more" if len(facts) > _SHOWN else "")


def _kind(dtype: torch.dtype, shape: Sequence[int]) -> str:
    return f"{str(dtype).removeprefix('torch.')}{list(shape)}"
