"""Which samples a strategy looks at, how they were prepared, and in which mode the towers are meanwhile."""

import pytest
import torch

from mmcl.data.modality import IMAGE

from .record import of_batch, recorded
from .towers import Call
from .variants import Variant, variants

every = pytest.mark.parametrize("variant", list(variants()), ids=str)

STILL = {
    "coda_prompt",
    "diki",
    "cpe_clip",
    "dualprompt",
    "fwd_prompt",
    "hat",
    "l2p",
    "lora",
    "moe_adapters",
    "progressive",
    "rail",
    "rapf",
    "s_iprompts",
    "s_liprompts",
}  # their backbone is frozen and in evaluation mode throughout
STILL_FROM_SECOND = {"feature_replay"}  # distilled in evaluation mode
# what a step encodes besides its batch: images of the stream or reference images, un-augmented
BESIDE = {
    "distill,kind=feature,teacher=stored,samples=6,per_experience=3",
    "kdr",
    "lwf,samples=second",
    "lwf,prompts=current,texts=frozen,samples=second",
    "lwf_vr",
}
GENERATING = {"dgr"}


def images(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call.modality == IMAGE]


@every
def test_passes_at_both_ends_of_an_experience_and_evaluations_are_in_evaluation_mode(variant: Variant) -> None:
    record = recorded(variant)
    assert not any(call.training for call in record.border + record.evaluation)


@every
def test_passes_at_both_ends_of_an_experience_and_evaluations_see_plain_images(variant: Variant) -> None:
    record = recorded(variant)
    assert all(bool(call.plain.all()) for call in images(record.border + record.evaluation))


@every
def test_training_batches_are_augmented(variant: Variant) -> None:
    """Remembered samples in them too."""
    for step in recorded(variant).steps:
        inputs = step.batch.inputs
        shown = inputs[IMAGE][inputs.present[IMAGE]]
        assert bool(Call("", IMAGE, shown, True, False, False).augmented.all())


@every
def test_the_student_learns_in_training_mode_and_frozen_copies_stay_in_evaluation_mode(variant: Variant) -> None:
    for step in recorded(variant).steps:
        still = variant.name in STILL or (variant.name in STILL_FROM_SECOND and step.experience > 0)
        assert step.modes == {not still}
        for call in step.calls:
            assert call.training is not (call.frozen or still)


@every
def test_what_a_step_encodes_besides_its_batch_is_plain(variant: Variant) -> None:
    record, beside = recorded(variant), 0
    for step in record.steps:
        foreign = [call for call in images(step.calls) if not of_batch(call, step.batch)]
        if variant.name in GENERATING:
            assert not any(bool((call.augmented | call.plain).any()) for call in foreign)
        else:
            assert all(bool(call.plain.all()) for call in foreign)
        beside += len(foreign)
    assert (beside > 0) is (str(variant) in BESIDE or variant.name in {"zscl", *GENERATING})


@every
def test_statistics_of_the_towers_stay_as_training_left_them(variant: Variant) -> None:
    record = recorded(variant)
    assert record.statistics
    for before, after in (*record.statistics, *record.begun):
        assert all(torch.equal(value, after[name]) for name, value in before.items())


@every
def test_statistics_of_the_towers_follow_the_batches_that_are_learned(variant: Variant) -> None:
    """Else the tests above would hold for towers without statistics."""
    record = recorded(variant)
    last, _ = record.statistics[0]
    first = record.begun[0][0] if record.begun else last  # what learns without a step has begun none
    assert any(not torch.equal(value, last[name]) for name, value in first.items()) is (variant.name not in STILL)


def test_every_strategy_is_here_and_some_look_at_images_of_the_past() -> None:
    found = [str(variant) for variant in variants()]
    assert set(found) >= BESIDE
    assert len({variant.name for variant in variants()}) >= 21
