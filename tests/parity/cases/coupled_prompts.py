"""CPE-CLIP: prompts of both towers on layers that mix tokens, the session multiplier and the masked loss."""

from dataclasses import replace

import torch
from mmcl_strategies.parameter_efficient.coupled_prompts import CoupledPrompts, LanguagePrompts, VisionPrompts
from mmcl_strategies.parameter_efficient.cpe_clip import CPECLIP, session_multiplier
from torch import Tensor, nn

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.models.sites import AddOn, AddOns, Site
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_learner, toy_samples

from ..case import Case, Parity, Tolerance

REPLACE, ACCUMULATE = 0, 1
WORD = 0  # takes the place that a prompt will have; a start token has a larger id, and the end the largest


class Mixing(nn.Module):
    """``x + A(x) M``, where A takes the mean over the tokens that each one sees.

    Attributes:
        visible: ``[B, L, L]``; all of them, if it is ``None``.
    """

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix
        self.visible: Tensor | None = None
        self.length = 0

    def forward(self, x: Tensor) -> Tensor:
        self.length = x.shape[1]
        seen = x.new_ones(len(x), self.length, self.length) if self.visible is None else self.visible
        return x + seen / seen.sum(2, keepdim=True) @ x @ self.matrix


def through(
    start: nn.Module, entered: Tensor, positions: Tensor | float, blocks: list[Mixing], addons: list[AddOn]
) -> Tensor:
    """What leaves the last block of a tower whose first layers have prompts."""
    route = Route.given(torch.zeros(len(entered), dtype=torch.long))
    present = {IMAGE: torch.ones(len(entered), dtype=torch.bool)}
    for place, addon in zip([start, *blocks], addons, strict=False):
        holder = AddOns.at(Site("block", 0, place, place, 1))
        holder["it"], holder.inputs = addon, Inputs({IMAGE: entered}, present, route=route)
    x: Tensor = start(entered) + positions
    for block in blocks:
        x = block(x)
    return x


def of_texts(case: Case, prompts: CoupledPrompts) -> Tensor:
    """Words stand where prompts will, as the frame of the head puts them there."""
    tokens, there = case.tensor("text_tokens"), case.tensor("attn_mask")
    layers, length = prompts.language.shape[:2]
    words = torch.full((len(tokens), length), WORD)
    tokens = torch.cat([tokens[:, :1], words, tokens[:, 1:]], 1)
    there = torch.cat([there[:, :1], torch.ones_like(words), there[:, 1:]], 1)
    visible = (there.unsqueeze(1) * torch.ones(tokens.shape[1], tokens.shape[1]).tril()).to(case.precision)
    blocks = [Mixing(matrix) for matrix in case.tensor("text_mix")]
    for block in blocks:
        block.visible = visible
    start = nn.Embedding.from_pretrained(case.tensor("token_table"))
    addons: list[AddOn] = [LanguagePrompts(prompts, layer) for layer in range(layers)]
    found = through(start, tokens, case.tensor("pos_table")[: tokens.shape[1]], blocks, addons)
    return found[torch.arange(len(tokens)), tokens.argmax(1)]


def of_images(case: Case, prompts: CoupledPrompts) -> tuple[Tensor, list[int]]:
    blocks = [Mixing(matrix) for matrix in case.tensor("vision_mix")]
    addons: list[AddOn] = [VisionPrompts(prompts, layer) for layer in range(len(prompts.language))]
    found = through(nn.Identity(), case.tensor("vision_tokens"), 0.0, blocks, addons)
    return found[:, 0], [block.length for block in blocks]


def masked_loss(case: Case) -> Tensor:
    """The loss of a learner that has met ``n_old`` classes before."""
    old, every = case.integer("n_old"), case.tensor("logits").shape[1]
    parts = [range(old), range(old, every)] if old else [range(every)]
    experiences = []
    for task, ids in enumerate(parts):
        space = LabelSpace.of([f"class {c}" for c in ids], first_id=ids[0])
        samples = toy_samples(list(ids), 6, task, task)
        experiences.append(ExperienceData(f"part {task}", samples, samples, space, frozenset({IMAGE})))
    stream = Benchmark(name="parts", edition="parts", scenario=CIL, experiences=experiences)
    strategy = CPECLIP()
    learner = toy_learner(stream, {"cpe_clip": strategy})
    for experience in stream.train:
        learner.meet(experience)
    batch = learner.prepare(stream.train[-1].samples, range(6))
    learner.mbatch = batch._replace(targets=case.tensor("labels"))
    learner.consider(learner.batch)
    learner.mb_output = replace(learner.forward(), logits=case.tensor("logits"))
    return strategy.objective(learner)


def check(case: Case) -> None:
    """Cases of other modes than the method's own hold in the tower whose mode is, and in all that has no mode."""
    layers, length, width = case.arrays["g_values"].shape
    prompts = CoupledPrompts(layers, length, width, len(case.arrays["proj_b"]), dtype=case.precision)
    given = {prompts.language: "g_values", prompts.to_vision.weight: "proj_w", prompts.to_vision.bias: "proj_b"}
    with torch.no_grad():
        for parameter, name in given.items():
            parameter.copy_(case.tensor(name))
    case.expect("vision_prompts", torch.stack([prompts.vision(layer) for layer in range(layers)]))

    modes = case.integer("text_mode") == REPLACE, case.integer("vision_mode") == ACCUMULATE
    texts, (images, lengths) = of_texts(case, prompts), of_images(case, prompts)
    if modes[0]:
        case.expect("text_out", texts)
    if modes[1]:
        case.expect("vision_out", images)
        case.expect("vision_len_per_layer", lengths)
    if all(modes):
        loss = (texts * case.tensor("grad_text_out")).sum() + (images * case.tensor("grad_vision_out")).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter, name in given.items():
            case.expect(f"grad_{name}", parameter.grad)

    classes = case.tensor("n_classes_per_session").tolist()
    factors = [session_multiplier(classes[: session + 1]) for session in range(len(classes))]
    case.expect("session_multiplier", factors)
    theta = case.leaf("g_values")
    settings = {name: case.number(name) for name in ("lr", "momentum", "weight_decay")}
    optimiser = torch.optim.SGD([theta], **settings)  # type: ignore[arg-type]
    for step in (1, 2):
        theta.grad = factors[-1] * case.tensor("grad_g_values")
        optimiser.step()
        case.expect(f"g_after_step{step}", theta)
    case.expect("masked_loss", masked_loss(case))
    case.require_all(("vision_prompts", "session_multiplier", "g_after_step1", "g_after_step2", "masked_loss"))
    assert any(modes), "neither tower was compared"


PARITY = {
    "cpe_clip_prompts": Parity(check, {torch.float64: Tolerance(1e-5, 1e-4), torch.float32: Tolerance(1e-5, 1e-3)}),
}
