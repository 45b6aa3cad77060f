"""What an auxiliary pass sees: samples as they are, while training augments them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.memory import Memory, by_value
from mmcl.data.modality import IMAGE
from mmcl.data.sample import Sample, SampleDataset
from mmcl.learning.learner import Learner
from mmcl.testing.toy import toy_benchmark, toy_learner


def noisy() -> tuple[Learner, list[Sample]]:
    """A learner whose training images are shifted at random, and raw samples for it."""
    benchmark, backbone, noise = toy_benchmark(), tiny_clip(), torch.Generator().manual_seed(0)
    backbone.preprocess_train = {IMAGE: lambda value: value + 1 + torch.rand((), generator=noise)}
    backbone.preprocess_eval = {IMAGE: lambda value: value + 0.0}
    learner = toy_learner(benchmark, backbone=backbone)
    learner.meet(benchmark.train[0])
    learner.experience = benchmark.train[0]
    samples = benchmark.train[0].samples
    return learner, [replace(samples[index], finished=False) for index in range(len(samples))]


def originals(samples: list[Sample]) -> Tensor:
    return torch.stack([sample.inputs[IMAGE] for sample in samples])


@pytest.mark.parametrize("remembered", [False, True])
def test_one_pass_is_un_augmented_and_in_order_however_often_it_is_made(remembered: bool) -> None:
    learner, samples = noisy()
    data: SampleDataset = Memory([by_value(sample) for sample in samples]) if remembered else samples
    for _ in range(2):
        images = torch.cat([batch.inputs[IMAGE] for batch in learner.one_pass(data, 5)])
        assert torch.equal(images, originals(samples))


def test_batches_are_augmented_anew_unless_that_is_not_wanted() -> None:
    learner, samples = noisy()
    originally = originals(samples)
    for augment in (True, False):
        shifts = []
        for batch in learner.batches(samples, 8, batch_size=4, augment=augment):  # two passes
            rows = [int(name.split("/")[1]) for name in batch.inputs.sample_ids]
            shifts += (batch.inputs[IMAGE] - originally[rows]).flatten(1).mean(1).tolist()
        assert len({round(shift, 5) for shift in shifts}) == (32 if augment else 1)
        assert all(shift >= 1 for shift in shifts) is augment
