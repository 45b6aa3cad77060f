"""Plain features are those of the images alone, calmly looked at, past what was added."""

import torch
from mmcl_strategies.parameter_efficient.rapf import RAPF
from mmcl_strategies.shared.plain_features import plain_features

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.modality import IMAGE
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.scenario import CIL, MDTIL
from mmcl.testing.toy import toy_benchmark, toy_learner
from mmcl.testing.toy.models import ImageTower


def test_the_model_is_in_evaluation_mode_meanwhile_and_keeps_its_statistics() -> None:
    stream = toy_benchmark(CIL, 1)
    learner = toy_learner(stream, backbone=ImageTower())
    learner.train(stream.train[0])
    samples, before = stream.train[0].samples, {n: b.clone() for n, b in learner.model.named_buffers()}
    learner.model.train()
    once, twice = (plain_features(learner, learner.one_pass(samples, 5))[0] for _ in range(2))
    assert torch.equal(once, twice), "nothing drops out"
    assert learner.model.training
    assert all(torch.equal(value, before[name]) for name, value in learner.model.named_buffers())


def test_they_are_raw_features_of_the_pre_trained_model_with_their_classes() -> None:
    stream = toy_benchmark(CIL, 1)
    learner = toy_learner(stream, {"rapf": RAPF(beta=0.3)}, iterations=1)
    learner.train(stream.train[0])
    features, labels = plain_features(learner, learner.one_pass(stream.train[0].samples, 5))
    (whole,) = learner.one_pass(stream.train[0].samples, 100)
    with torch.no_grad():
        expected = MultimodalModel(tiny_clip()).eval().encode(whole.inputs).features[IMAGE]
    torch.testing.assert_close(features, expected)
    assert torch.equal(labels, whole.targets)
    assert not features.requires_grad


def test_samples_without_an_image_are_left_out() -> None:
    stream = toy_benchmark(MDTIL, 3)
    learner = toy_learner(stream)
    for experience, count in zip(stream.train, (16, 0, 11), strict=True):  # images, texts, both with some missing
        learner.train(experience)
        features, labels = plain_features(learner, learner.one_pass(experience.samples))
        assert len(features) == len(labels) == count
        assert bool((features.norm(dim=1) > 0).all())
