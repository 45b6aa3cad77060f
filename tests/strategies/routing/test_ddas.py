"""The best reconstruction names the way; what looks like the reference, or like nothing known, takes the plain one."""

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from mmcl_strategies.routing.alexnet import convolutions
from mmcl_strategies.routing.ddas import DDAS
from mmcl_strategies.routing.reconstruction import (
    REFERENCE,
    Autoencoder,
    Reconstruction,
    selected,
    squashed,
    train_autoencoder,
)
from torch import Tensor, nn

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN
from mmcl.data.sample import Inputs
from mmcl.errors import ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.seeding import seeded
from mmcl.models.arrival import Arrival
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark, toy_learner


def looking_at(*levels: float) -> Inputs:
    """Rows of four equal features."""
    values = torch.tensor(levels).unsqueeze(1).repeat(1, 4)
    return Inputs({IMAGE: values}, {IMAGE: torch.ones(len(levels), dtype=torch.bool)})


def router(granularity: Literal["sample", "batch"] = "sample", threshold: float = 0.01) -> Reconstruction:
    """The reference is 0, experience 0 is 2, experience 1 is -2, experience 2 has not been learned."""
    made = Reconstruction(nn.Identity(), (4,), code=2, threshold=threshold, granularity=granularity)
    for index in range(3):
        made.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
    for name, level in ((REFERENCE, 0.0), ("0", 2.0), ("1", -2.0), ("2", 0.4)):
        autoencoder = made.of(name)
        autoencoder.decoder.weight.zero_()
        autoencoder.decoder.bias.fill_(level)
        autoencoder.learned.fill_(name != "2")
    return made


def unseen(_: Inputs) -> Any:
    raise AssertionError("it does not look through the model")


def test_every_row_takes_the_way_of_the_best_reconstruction() -> None:
    route = router()(looking_at(2.0, -2.1, 0.1, 0.4), unseen)
    assert route.ids.tolist() == [0, 1, PLAIN, PLAIN], (
        "the reference wins for two; what is not learned does not compete"
    )
    assert route.strength.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_what_nobody_reconstructs_well_takes_the_plain_way() -> None:
    assert router(threshold=0.001)(looking_at(2.0, 1.5), unseen).ids.tolist() == [0, PLAIN]


def test_an_error_that_equals_the_threshold_is_accepted_and_the_first_of_equals_wins() -> None:
    errors, ids = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.5, 0.5]]), torch.tensor([PLAIN, 0, 1])
    assert selected(errors, ids, 0.25).tolist() == [0, PLAIN]
    assert selected(errors, ids, 0.5).tolist() == [0, PLAIN]
    assert selected(errors[:, 1:], ids[1:], 0.5).tolist() == [0, 0]


def test_a_batch_may_be_decided_as_a_whole() -> None:
    assert router("batch")(looking_at(2.0, 2.0, 0.1), unseen).ids.tolist() == [PLAIN] * 3
    assert router("batch", threshold=0.05)(looking_at(2.0, 2.0, 1.5), unseen).ids.tolist() == [0] * 3
    assert router("sample", threshold=0.05)(looking_at(2.0, -2.0), unseen).ids.tolist() == [0, 1]


def test_a_row_without_an_image_takes_the_plain_way() -> None:
    inputs = looking_at(2.0, 2.0)
    inputs.present[IMAGE][1] = False
    assert router()(inputs, unseen).ids.tolist() == [0, PLAIN]
    texts = Inputs({TEXT: torch.ones(2, 4).long()}, {TEXT: torch.ones(2, dtype=torch.bool)})
    assert router()(texts, unseen).ids.tolist() == [PLAIN, PLAIN]


def test_before_anything_has_been_learned_every_way_is_plain() -> None:
    made = Reconstruction(nn.Identity(), (4,), code=2, threshold=1.0, granularity="sample")
    assert made(looking_at(2.0), unseen).ids.tolist() == [PLAIN]


def test_targets_are_squashed_so_that_a_sigmoid_can_reach_them() -> None:
    features = 5 * torch.randn(64, 2, 3, generator=torch.Generator().manual_seed(0))
    s = squashed(features)
    assert s.shape == (64, 6)
    assert 0 <= s.min() < 0.1 < 0.9 < s.max() <= 1
    with seeded(1):
        autoencoder = Autoencoder(6, 6)
    train_autoencoder(autoencoder, [s] * 300, lr=0.02, weight_decay=0.0, steps_per_epoch=300, decay_every=10)
    assert float((autoencoder(s) - s).square().mean()) < 0.05
    assert bool(autoencoder.learned)
    assert not any(parameter.requires_grad for parameter in autoencoder.parameters())


def edges(_: str) -> nn.Module:
    """A network small enough for a test."""
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten())


def learned(experiences: int = 3) -> tuple[Learner, list[dict[str, Tensor]]]:
    benchmark = toy_benchmark(CIL, experiences)
    strategy = DDAS(code=4, iterations=5, reference_iterations=5, batch_size=4)
    strategy._network = edges
    learner = toy_learner(benchmark, {"ddas": strategy})
    states = []
    for experience in benchmark.train:
        learner.train(experience)
        assert isinstance(learner.model.router, Reconstruction)
        states.append({name: value.clone() for name, value in learner.model.router.state_dict().items()})
    return learner, states


def test_earlier_autoencoders_are_bit_identical_and_nothing_of_the_router_is_in_the_optimiser() -> None:
    learner, states = learned()
    for before, after in pairwise(states):
        assert before
        assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert len(states[-1]) > len(states[0])
    router_parameters = {id(parameter) for parameter in learner.model.router.parameters()}  # type: ignore[union-attr]
    trained = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    assert not router_parameters & trained


def test_training_the_model_does_not_change_what_the_router_sees() -> None:
    with_router, _ = learned()
    benchmark = toy_benchmark(CIL, 3)
    alone = toy_learner(benchmark, {})
    for experience in benchmark.train:
        alone.train(experience)
    ours = dict(with_router.model.backbone.named_parameters())
    assert all(torch.equal(value, ours[name]) for name, value in alone.model.backbone.named_parameters())


def test_weights_that_are_no_alexnet_are_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="not torchvision's AlexNet"):
        convolutions(str(tmp_path / "other.pt"))
    with pytest.raises(ConfigError, match="cannot be read"):
        convolutions(str(tmp_path / "nothing.pt"))


def test_the_network_is_alexnet_up_to_its_last_convolution(tmp_path: Path) -> None:
    from torchvision.models import alexnet

    whole = alexnet(weights=None)
    torch.save(whole.state_dict(), tmp_path / "alexnet.pt")
    network = convolutions(str(tmp_path / "alexnet.pt"))
    picture = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        found = network(picture)
        assert found.shape == (1, 256, 13, 13)
        assert float(found.min()) < 0, "before the ReLU"
        assert torch.equal(whole.features[11:](found), whole.features(picture))
    assert convolutions("glyph")(torch.randn(2, 3, 32, 32)).shape == (2, 256, 1, 1)
    assert convolutions("glyph")(torch.randn(2, 3, 8, 8)).shape == (2, 256, 1, 1)
