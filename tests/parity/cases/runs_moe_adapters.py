"""Whole runs of moe_adapters with ddas on a small frozen CLIP, through the learner."""

from typing import Any

import torch
from mmcl_strategies.parameter_efficient.experts import Mixture
from mmcl_strategies.parameter_efficient.moe_adapters import OWNER, MoEAdapters
from mmcl_strategies.routing.ddas import DDAS
from mmcl_strategies.routing.reconstruction import REFERENCE, Reconstruction
from torch import Tensor, nn

from mmcl.data.asked import Asked
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.reference import ReferenceData
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import Scenario

from ..base_clip import base_clip
from ..case import STRICT, Case, Parity
from ..small_clip import RecordedTokenizer
from ..trajectory import RecordedLearner
from .experts import Recorded
from .routing import set_autoencoder

HIDDEN = Scenario("MTIL", task_id_known_at_test=False, label_space_at_test="own", modalities_change=False)
PARTS = {"down_w": "down.weight", "down_b": "down.bias", "up_w": "up.weight", "up_b": "up.bias"}


def small_network(case: Case) -> nn.Module:
    """Two convolutions with the treatment of AlexNet's: the last ReLU is cut off."""
    layers: list[nn.Module] = []
    for name, stride in (("in_fe_conv1", 2), ("in_fe_conv2", 1)):
        weight = case.tensor(f"{name}_w").float()
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, stride, padding=1)
        layer.weight.data, layer.bias.data = weight, case.tensor(f"{name}_b").float()  # type: ignore[union-attr]
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Starts(StrategyPlugin):
    """Puts what a case begins with into the model, and notes what the steps give."""

    def __init__(self, case: Case) -> None:
        self.case, self.losses = case, []

    def before_training_exp(self, learner: Learner, **_: Any) -> None:
        index = learner.current.index
        router = learner.model.router
        assert isinstance(router, Reconstruction)
        if index == 0:
            set_autoencoder(router.of(REFERENCE), self.case, "in_ae_", 0)
            router.of(REFERENCE).learned.fill_(False)
        set_autoencoder(router.of(str(index)), self.case, "in_ae_", index + 1)
        router.of(str(index)).learned.fill_(False)
        for tower in (TEXT, IMAGE):
            draws = self.case.tensor(f"in_noise_{tower}_t{index}")
            for layer, mixture in enumerate(mixtures(learner, tower)):
                mixture.draws = Recorded(iter(draws[:, layer]))

    def after_update(self, learner: Learner, **_: Any) -> None:
        self.losses.append(learner.loss.detach().clone())


def mixtures(learner: Learner, tower: str) -> list[Mixture]:
    """Those of a tower, in the order of layers."""
    return [site.exit.addons[OWNER] for site in learner.model.backbone.sites_of(tower, "mlp")]  # type: ignore[index,misc]


def check(case: Case) -> None:
    tasks, steps = case.integer("hp_n_tasks"), case.integer("hp_total_iterations") + 1
    tokens, spaces = class_spaces(case, tasks)
    experiences = []
    for t in range(tasks):
        images, labels = case.tensor(f"in_images_t{t}").flatten(0, 1), case.tensor(f"in_labels_t{t}").flatten()
        samples = TensorSamples({IMAGE: images}, labels + spaces[t].ids[0], t)
        training = {"lr": case.setting("hp_lr", t)}
        experiences.append(ExperienceData(f"task {t}", samples, samples, spaces[t], training=training))
    stream = Benchmark(name="recorded", edition="recorded", scenario=HIDDEN, experiences=experiences)
    reference = case.tensor("in_ref_images").flatten(0, 1)
    strategies = {"moe_adapters": adapters(case), "starts": Starts(case), "ddas": ddas(case)}
    learner = RecordedLearner(
        orders=orders(case, tasks, steps),
        model=base_clip(case, RecordedTokenizer(tokens)),
        scenario=HIDDEN,
        strategies=strategies,
        reference=ReferenceData(TensorSamples({IMAGE: reference}, torch.arange(len(reference))), ["0"]),
        training={
            "iterations": steps,
            "warmup": case.integer("hp_warmup"),
            "label_smoothing": case.number("hp_label_smoothing"),
            "weight_decay": case.number("hp_weight_decay"),
            "betas": (case.number("hp_beta1"), case.number("hp_beta2")),
        },
    )
    learner.model.to(case.precision)
    set_experts(case, learner)
    counts: dict[str, list[Tensor]] = {IMAGE: [], TEXT: []}
    frozen: dict[str, list[Tensor]] = {IMAGE: [], TEXT: []}
    for t, experience in enumerate(stream.train):
        learner.train(experience)
        for tower in (IMAGE, TEXT):
            of_tower = mixtures(learner, tower)
            counts[tower].append(torch.stack([mixture.counts for mixture in of_tower]))
            frozen[tower].append(torch.stack([mixture.frozen for mixture in of_tower]).long())
            for name, part in PARTS.items():
                case.expect(f"out_t{t}_expert_{tower}_{name}", expert_weights(of_tower, part))
        for earlier in range(t + 1):
            for tower in (IMAGE, TEXT):
                gates = [mixture.gates[str(earlier)] for mixture in mixtures(learner, tower)]
                case.expect(f"out_t{earlier}_router_{tower}", torch.stack([gate.weight for gate in gates]))
                case.expect(f"out_t{earlier}_noise_{tower}", torch.stack([gate.noise for gate in gates]))
        expect_answers(case, learner, t, spaces)
    for tower in (IMAGE, TEXT):
        case.expect(f"out_counts_{tower}", torch.stack(counts[tower]))
        case.expect(f"out_frozen_{tower}", torch.stack(frozen[tower]))
    case.expect("out_loss", torch.stack(strategies["starts"].losses).reshape(tasks, steps))
    router = learner.model.router
    assert isinstance(router, Reconstruction)
    trained = [router.of(REFERENCE), *(router.of(str(t)) for t in range(tasks))]
    for name, layer in (("enc", "encoder"), ("dec", "decoder")):
        case.expect(f"out_ae_{name}_w", torch.stack([getattr(one, layer).weight for one in trained]))
        case.expect(f"out_ae_{name}_b", torch.stack([getattr(one, layer).bias for one in trained]))
    case.require_all(case.names("out_"))


def expect_answers(case: Case, learner: Learner, t: int, spaces: list[LabelSpace]) -> None:
    """Errors, routes, and logits of every evaluation batch under every way and under the one that is found."""
    router = learner.model.router
    assert isinstance(router, Reconstruction)
    model, images = learner.model.eval(), case.tensor("in_eval_images")
    errors = torch.stack([router.errors(batch)[0] for batch in images])
    case.expect(f"out_recon_sample_t{t}", errors)
    case.expect(f"out_recon_batch_t{t}", errors.mean(1))
    routes: dict[str, list[Tensor]] = {"batch": [], "sample": []}
    for d, batch in enumerate(images):
        inputs = Inputs({IMAGE: batch}, {IMAGE: torch.ones(len(batch), dtype=torch.bool)}, asked=Asked(spaces[d]))
        with torch.no_grad():
            ways = [Route.given(torch.full((len(batch),), way)) for way in (PLAIN, *range(t + 1))]
            outputs = [model.predict(inputs.replace(route=way)) for way in ways]
            case.expect(f"out_logits_t{t}_d{d}", torch.stack([output.logits for output in outputs]))
            for granularity, suffix in (("batch", ""), ("sample", "_sample")):
                router.granularity = granularity  # type: ignore[assignment]
                output = model.predict(inputs)
                assert output.route is not None
                routes[granularity].append(output.route.ids)
                case.expect(f"out_logits_routed{suffix}_t{t}_d{d}", output.logits)
    case.expect(f"out_route_t{t}", torch.stack([ids[0] for ids in routes["batch"]]))
    case.expect(f"out_route_sample_t{t}", torch.stack(routes["sample"]))


def class_spaces(case: Case, tasks: int) -> tuple[Tensor, list[LabelSpace]]:
    """Token ids of all candidates, and the classes of every evaluation batch; those of experiences are its first."""
    tokens = [case.tensor(f"in_eval_tokens_d{d}") for d in range(len(case.arrays["in_eval_images"]))]
    for t in range(tasks):
        assert torch.equal(tokens[t], case.tensor(f"in_class_tokens_t{t}")), "training has other prompts"
    spaces, first = [], 0
    for rows in tokens:
        names = [str(first + row) for row in range(len(rows))]
        spaces.append(LabelSpace.of(names, first_id=first, templates=["{}"]))
        first += len(rows)
    return torch.cat(tokens), spaces


def adapters(case: Case) -> MoEAdapters:
    return MoEAdapters(
        experts=case.integer("hp_experts"),
        top_k=case.integer("hp_top_k"),
        freeze=case.integer("hp_k_freeze"),
        bottleneck=case.integer("hp_bottleneck"),
        scale=case.number("hp_adapter_scale"),
        dropout=case.number("hp_adapter_dropout"),
        noise_floor=case.number("hp_noise_eps"),
        idle="decay" if case.integer("hp_idle_zero_grad") else "skip",
        lr=None,
    )


def ddas(case: Case) -> DDAS:
    strategy = DDAS(
        threshold=case.number("hp_ddas_threshold"),
        code=case.arrays["in_ae_enc_w"].shape[1],
        iterations=case.integer("hp_ae_iterations_task") + 1,
        reference_iterations=case.integer("hp_ae_iterations_reference") + 1,
        lr=case.number("hp_ae_lr"),
        weight_decay=case.number("hp_ae_weight_decay"),
        decay_every=case.integer("hp_ae_lr_decay_epochs"),
        batch_size=case.arrays["in_ref_images"].shape[1],
    )
    strategy._network = lambda _: small_network(case)
    return strategy


def orders(case: Case, tasks: int, steps: int) -> dict[str, Tensor]:
    """Fixed batches, one after the other and again."""

    def cycled(count: int, batches: str) -> Tensor:
        number, size = case.arrays[batches].shape[:2]
        return (torch.arange(count).remainder(number) * size).unsqueeze(1) + torch.arange(size)

    names = [f"in_images_t{t}" for t in range(tasks)]
    reference, task = (case.integer(f"hp_ae_iterations_{name}") + 1 for name in ("reference", "task"))
    return {
        "batches": torch.stack([cycled(steps, name) for name in names]),
        "ddas": torch.stack([cycled(task, name) for name in names]),
        "ddas reference": cycled(reference, "in_ref_images").unsqueeze(0),
    }


def set_experts(case: Case, learner: Learner) -> None:
    """The experts at the start."""
    with torch.no_grad():
        for tower in (IMAGE, TEXT):
            for layer, mixture in enumerate(mixtures(learner, tower)):
                for e, expert in enumerate(mixture.experts):
                    for name, part in PARTS.items():
                        expert.get_parameter(part).copy_(case.tensor(f"in_expert_{tower}_{name}")[layer, e])


def expert_weights(of_tower: list[Mixture], part: str) -> Tensor:
    """``[layers, E, ...]``."""
    return torch.stack([torch.stack([e.get_parameter(part) for e in mixture.experts]) for mixture in of_tower])


PARITY = {"run_moe_adapters": Parity(check, STRICT)}
