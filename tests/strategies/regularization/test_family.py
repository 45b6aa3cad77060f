"""What all members of the EWC family promise: they start late, stay small, protect by name and refuse to forget."""

import io
import logging
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.regularization.ewc_plus_plus import EWCPlusPlus
from mmcl_strategies.regularization.ewch import EWCH
from mmcl_strategies.regularization.online_ewc import OnlineEWC
from torch import Tensor, nn

from mmcl.data.modality import IMAGE, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.errors import ConfigError, PluginError
from mmcl.learning.compose import Slot
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import Backbone, Features, Tower
from mmcl.streams.scenario import CIL, DIL, MDTIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_pairs, weights

FAMILY = (EWC, EWCH, OnlineEWC, EWCPlusPlus)
family = pytest.mark.parametrize("kind", FAMILY)
Kind = Callable[..., Any]


class Pixels(Backbone):
    """A layer on pixels with batch statistics and dropout; its head is linear and grows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Linear(3 * 32 * 32, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 8)]
        self.layers = nn.Sequential(*layers)
        self.specs = {IMAGE: ModalitySpec((3, 32, 32))}
        self.towers = {IMAGE: Tower(self.layers, frozenset({IMAGE}), 8)}
        self.preprocess_train = self.preprocess_eval = {}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        return Features(self.layers(inputs[IMAGE].flatten(1)))

    def tokenize(self, texts: Any) -> Tensor:
        raise AssertionError("it reads no text")

    @property
    def logit_scale(self) -> Tensor:
        return torch.tensor(1.0)

    def export(self, folder: Any) -> None:
        raise AssertionError("never exported")


def remembered(strategy: Any) -> dict[str, Tensor]:
    return dict(strategy.state.fisher)


@family
def test_there_is_no_penalty_before_the_second_experience(kind: Kind) -> None:
    benchmark = toy_benchmark(TIL)
    plain, protected = toy_learner(benchmark), toy_learner(benchmark, {"s": kind(strength=1e6)})
    plain.train(benchmark.train[0])
    protected.train(benchmark.train[0])
    assert all(torch.equal(weights(plain)[name], value) for name, value in weights(protected).items())
    assert not protected.gradient_values
    protected.train(benchmark.train[1])
    assert float(protected.gradient_values["s/penalty"]().detach()) > 0


@family
def test_the_penalty_in_the_log_is_the_one_whose_gradient_is_added(kind: Kind) -> None:
    benchmark, strategy = toy_benchmark(TIL), kind(strength=50.0)
    compared: list[float] = []

    class Compare(StrategyPlugin):
        def after_backward(self, learner: Learner, **_: object) -> None:
            self.before = {n: None if p.grad is None else p.grad.clone() for n, p in learner.model.named_parameters()}

        def before_update(self, learner: Learner, **_: object) -> None:
            if "s/penalty" not in learner.gradient_values:
                return
            parameters = {n: p for n, p in learner.model.named_parameters() if n in strategy.state.fisher}
            value = learner.gradient_values["s/penalty"]()
            for (name, parameter), expected in zip(
                parameters.items(), torch.autograd.grad(value, list(parameters.values())), strict=True
            ):
                old = self.before[name]
                added = parameter.grad if old is None else parameter.grad - old
                torch.testing.assert_close(added, expected, rtol=1e-3, atol=1e-6)
                compared.append(float(expected.norm()))

    learner = toy_learner(benchmark, {"s": strategy, "compare": Compare()}, optimizer="sgd", lr=1e-2)
    for experience in benchmark.train[:2]:
        learner.train(experience)
    assert max(compared) > 1e-4


@family
def test_the_state_does_not_grow_with_the_number_of_experiences(kind: Kind) -> None:
    benchmark, strategy, sizes = toy_benchmark(TIL, experiences=4), kind(), []
    learner = toy_learner(benchmark, {"s": strategy}, iterations=2)
    for experience in benchmark.train:
        learner.train(experience)
        sizes.append(
            sum(t.numel() for part in vars(strategy.state).values() if isinstance(part, dict) for t in part.values())
        )
    assert len(set(sizes)) == 1


@family
def test_saved_and_loaded_it_goes_on_as_if_it_had_never_stopped(kind: Kind) -> None:
    benchmark, straight = toy_benchmark(TIL), kind(strength=10.0)
    learner = toy_learner(benchmark, {"s": straight})
    for experience in benchmark.train[:2]:
        learner.train(experience)
    file = io.BytesIO()
    torch.save((straight.state_dict(), learner.model.state_dict()), file)
    file.seek(0)
    state, model = torch.load(file, weights_only=True)
    resumed = kind(strength=10.0)
    resumed.load_state_dict(state)
    later = toy_learner(benchmark, {"s": resumed})
    later.model.load_state_dict(model)
    for experience in benchmark.train[:2]:
        later.meet(experience)
    for each in (learner, later):
        each.train(benchmark.train[2])
    assert all(torch.equal(weights(learner)[name], value) for name, value in weights(later).items())
    for name, value in remembered(straight).items():
        assert torch.equal(remembered(resumed)[name], value)


@family
def test_patterns_choose_what_is_protected(kind: Kind) -> None:
    benchmark, strategy = toy_benchmark(TIL), kind(include=("*visual*",), exclude=("*bias",))
    toy_learner(benchmark, {"s": strategy}).train(benchmark.train[0])
    assert remembered(strategy)
    assert all("visual" in name and not name.endswith("bias") for name in remembered(strategy))


@family
def test_a_pattern_that_matches_nothing_is_refused_at_once(kind: Kind) -> None:
    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark, {"s": kind(include=("visul*",))})
    with pytest.raises(ConfigError, match="'visul\\*' matches no parameter"):
        learner.train(benchmark.train[0])


WRONG = {"strength": -1.0, "samples": 0, "batch_size": 0, "fisher": "guess", "normalise": "l3", "fisher_clip": 0.0}
WRONG |= {"prior": -0.1, "gamma": 1.1, "recursion": "sum", "alpha": 0.0, "every": 0}


@pytest.mark.parametrize(
    ("kind", "option"), [(kind, field.name) for kind in FAMILY for field in fields(kind) if field.name in WRONG]
)
def test_options_out_of_range_are_refused_by_name(kind: Kind, option: str) -> None:
    with pytest.raises(ConfigError, match=f"[.]{option}: "):
        kind(**{option: WRONG[option]})


@family
@pytest.mark.parametrize("damage", ["renamed", "shrunk"])
def test_a_renamed_or_shrunk_parameter_is_an_error(kind: Kind, damage: str) -> None:
    benchmark, strategy = toy_benchmark(TIL), kind()
    learner = toy_learner(benchmark, {"s": strategy})
    learner.train(benchmark.train[0])
    clip = learner.model.backbone.clip
    if damage == "renamed":
        clip.visual.renamed = clip.visual.ln_post
        del clip.visual.ln_post
    else:
        clip.positional_embedding = nn.Parameter(clip.positional_embedding.detach()[:19])
    with pytest.raises(PluginError, match="ln_post" if damage == "renamed" else "positional_embedding"):
        learner.train(benchmark.train[1])


@family
def test_frozen_parameters_are_skipped_and_named_in_the_log(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    benchmark, strategy = toy_benchmark(TIL), kind()
    learner = toy_learner(benchmark, {"s": strategy}, freeze=("*logit_scale", "*ln_post*"))
    with caplog.at_level(logging.INFO, "mmcl_strategies"):
        learner.train(benchmark.train[0])
    assert not any("ln_post" in name for name in remembered(strategy))
    assert "visual.ln_post.weight" in caplog.text


@family
def test_what_is_frozen_later_keeps_its_memory(kind: Kind) -> None:
    benchmark, strategy = toy_benchmark(TIL), kind(strength=10.0)
    learner = toy_learner(benchmark, {"s": strategy})
    learner.train(benchmark.train[0])
    name = "backbone.clip.visual.ln_post.weight"
    before, parameter = remembered(strategy)[name].clone(), learner.model.get_parameter(name)
    parameter.requires_grad_(False)
    value = parameter.detach().clone()
    learner.train(benchmark.train[1])
    assert torch.equal(parameter, value)
    torch.testing.assert_close(remembered(strategy)[name], before)
    parameter.requires_grad_(True)
    learner.train(benchmark.train[2])
    assert not torch.equal(parameter, value)
    assert float(learner.gradient_values["s/penalty"]().detach()) > 0


@family
def test_a_head_that_grows_is_protected_in_its_old_part(kind: Kind) -> None:
    benchmark, strategy = toy_benchmark(CIL), kind(strength=1e9)
    shapes, pulls = [], []

    class Pull(StrategyPlugin):
        def before_update(self, learner: Learner, **_: object) -> None:
            pulls.append(learner.model.head.weight.grad.norm(dim=1))

    learner = toy_learner(benchmark, {"s": strategy, "pull": Pull()}, backbone=Pixels(), iterations=3, batch_size=16)
    for experience in benchmark.train:
        learner.train(experience)
        shapes.append(tuple(remembered(strategy)["head.weight"].shape))
    assert shapes == [(2, 8), (4, 8), (6, 8)]
    old, new = pulls[-1][:4], pulls[-1][4:]
    assert float(old.min()) > 100 * float(new.max()), "only the old rows are pulled, and hard"


@family
def test_a_head_that_another_strategy_provides_is_left_alone(kind: Kind) -> None:
    class Owner(StrategyPlugin):
        slots = frozenset({Slot.HEAD})

    benchmark, strategy = toy_benchmark(DIL), kind()
    toy_learner(benchmark, {"s": strategy, "owner": Owner()}, backbone=Pixels()).train(benchmark.train[0])
    assert remembered(strategy)
    assert not any(name.startswith("head.") for name in remembered(strategy))


@family
def test_it_runs_where_classes_are_pairs_or_modalities_change(kind: Kind) -> None:
    for benchmark in (toy_pairs(pairs=6), toy_benchmark(MDTIL, per_class=3)):
        learner = toy_learner(benchmark, {"s": kind()}, iterations=2)
        for experience in benchmark.train:
            learner.train(experience)
        assert float(learner.gradient_values["s/penalty"]().detach()) > 0
