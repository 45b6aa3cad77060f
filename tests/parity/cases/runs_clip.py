"""Whole runs of zscl, lwf, lwf_vr, wise_ft, modx and ctp on a small CLIP, through the learner.

Weights are compared where ``in_compared`` says so: the gradient of attention's key biases is 0 in theory, and Adam
makes steps of its rounding. They join the total of zscl through the consolidation, which is allowed for.
"""

from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from mmcl_strategies.distillation import lwf_vr
from mmcl_strategies.distillation.ctp import CTP
from mmcl_strategies.distillation.lwf import LwF
from mmcl_strategies.distillation.modx import ModX
from mmcl_strategies.distillation.wise_ft import WiSEFT
from mmcl_strategies.distillation.zscl import ZSCL
from torch import Tensor

from mmcl.data.collate import TensorSamples
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.reference import ReferenceData
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.teachers import CompatibleMomentum
from mmcl.models.multimodal import MultimodalModel
from mmcl.objectives.contrastive import Contrastive
from mmcl.streams.scenario import DIL, TIL

from ..case import STRICT, Case, Parity
from ..small_clip import RecordedTokenizer, small_clip
from ..trajectory import Run, recorded_stream


def check_zscl(case: Case) -> None:
    zscl = ZSCL(
        temperature=case.number("hp_T"),
        consolidation=case.number("hp_l2"),
        average_every=case.integer("hp_avg_freq"),
        batch_size=case.arrays["in_ref_order"].shape[2],
    )
    classes, texts, images = (case.tensor(f"in_{name}") for name in ("class_tokens", "ref_tokens", "ref_images"))
    sentences = [str(len(classes) + row) for row in range(len(texts))]
    reference = ReferenceData(TensorSamples({IMAGE: images}, torch.arange(len(images))), sentences)
    tokenizer = RecordedTokenizer(torch.cat([classes, texts]))
    run = on_classes(case, ("zscl", zscl), tokenizer, orders={"zscl": "in_ref_order"}, reference=reference)
    handed_over = expect_handed_over(case, run)
    expect_curve(case, "out_image_term", run.notes.curve("zscl/image"))
    theta = run.notes.curve("theta").unflatten(0, case.arrays["out_loss"].shape)
    if "out_theta_last" in case.arrays:
        expect_weights(case, "out_theta_last", theta[:, -1])
    start = torch.cat([case.tensor("in_theta0").unsqueeze(0), handed_over[:-1]])
    pull = case.number("hp_l2") * (theta - start.unsqueeze(1))[..., ~compared(case)].square().sum(-1)
    case.tolerance = replace(case.tolerance, absolute=case.tolerance.absolute + 4 * float(pull.max()))
    expect_curve(case, "out_loss", run.notes.curve("total"))
    case.require_all(case.names("out_"))


def check_lwf(case: Case) -> None:
    lwf = LwF(prompts="current", texts="frozen", samples="second", temperature=case.number("hp_T"))
    tokenizer = RecordedTokenizer(case.tensor("in_class_tokens"))
    run = on_classes(case, ("lwf", lwf), tokenizer, orders={"lwf": "in_second_order"})
    expect_handed_over(case, run)
    expect_curve(case, "out_loss", run.notes.curve("total"))
    case.require_all(case.names("out_"))


def check_lwf_vr(case: Case) -> None:
    drawn = iter(case.tensor("in_random_ids"))
    _, sentences, length = case.arrays["in_random_ids"].shape
    strategy = lwf_vr.LwFVR(temperature=case.number("hp_T"), sentences=sentences, length=length)
    tokens = case.tensor("in_class_tokens")
    tokenizer = RecordedTokenizer(tokens, case.integer("hp_sot"), case.integer("hp_eot"))
    run = on_classes(case, ("lwf_vr", strategy), tokenizer, orders={"lwf_vr": "in_second_order"})
    original = lwf_vr.sentences_of
    with patch.object(lwf_vr, "sentences_of", lambda ids, *rest: original(next(drawn).view_as(ids), *rest)):
        expect_handed_over(case, run)
    expect_curve(case, "out_loss", run.notes.curve("total"))
    case.require_all(case.names("out_"))


def check_wise_ft(case: Case) -> None:
    tokenizer = RecordedTokenizer(case.tensor("in_class_tokens"))
    run = on_classes(case, ("wise_ft", WiSEFT(alpha=case.number("hp_alpha"))), tokenizer)
    expect_handed_over(case, run)
    expect_curve(case, "out_loss", run.notes.curve("total"))
    case.require_all(case.names("out_"))


def check_modx(case: Case) -> None:
    run = on_pairs(case, ("modx", ModX(strength=case.number("hp_alpha"))))
    expect_handed_over(case, run)
    case.require_all(case.names("out_"))


def check_ctp(case: Case) -> None:
    ctp = CTP(queue=case.integer("hp_queue"))
    run = on_pairs(case, ("ctp", ctp))
    ctp.state.queues |= {IMAGE: case.tensor("in_image_queue"), TEXT: case.tensor("in_text_queue")}
    (momentum,) = (policy for policy in ctp.teachers if isinstance(policy, CompatibleMomentum))
    weights, moving, images, texts = [], [], [], []
    for _ in run.experiences():
        weights.append(flat(case, run.learner.model))
        moving.append(flat(case, run.learner.teacher(momentum).model))
        images.append(ctp.state.queues[IMAGE])
        texts.append(ctp.state.queues[TEXT])
    expect_weights(case, "out_theta", torch.stack(weights))
    expect_weights(case, "out_theta_momentum", torch.stack(moving))
    case.expect("out_image_queue", torch.stack(images))
    case.expect("out_text_queue", torch.stack(texts))
    case.require_all(case.names("out_"))


def on_classes(case: Case, strategy: tuple[str, StrategyPlugin], tokenizer: RecordedTokenizer, **arguments: Any) -> Run:
    """Classes of the day, label smoothing; AdamW, warm-up and a cosine down to 0 at the last step."""
    settings = {"lr": "hp_lr", "weight_decay": "hp_wd", "warmup": "hp_warmup", "label_smoothing": "hp_ls"}
    return Run(
        case,
        strategy,
        model=small_clip(case, tokenizer),
        stream=recorded_stream(case, TIL, settings),
        weights=partial(flat, case),
        training={"betas": (0.9, case.number("hp_beta2"))},
        **arguments,
    )


def on_pairs(case: Case, strategy: tuple[str, StrategyPlugin]) -> Run:
    """Contrastive, with AdamW at a constant rate."""
    settings = {"lr": "hp_lr", "weight_decay": "hp_wd", "batch_size": "hp_batch"}
    return Run(
        case,
        strategy,
        model=small_clip(case, RecordedTokenizer(case.tensor("in_tokens"))),
        stream=recorded_stream(case, DIL, settings),
        weights=partial(flat, case),
        training={"schedule": "constant"},
        objective=Contrastive(),
    )


def flat(case: Case, model: MultimodalModel) -> Tensor:
    """The weights in the order of the case."""
    weights = [model.get_parameter(f"backbone.clip.{name}") for name in case.arrays["in_names"].tolist()]
    return torch.cat([weight.detach().flatten() for weight in weights])


def expect_handed_over(case: Case, run: Run) -> Tensor:
    """Train, and compare the weights ``[T, P]`` after every experience, which are returned."""
    weights = torch.stack([flat(case, run.learner.model) for _ in run.experiences()])
    expect_weights(case, "out_theta", weights)
    return weights


def expect_weights(case: Case, name: str, found: Tensor) -> None:
    """Compare weights ``[T, P]`` except for the key biases."""
    case.expect(name, torch.where(compared(case), found, case.tensor(name)))


def compared(case: Case) -> Tensor:
    """``bool[P]``, which weights are no key biases."""
    return case.tensor("in_compared").bool()


def expect_curve(case: Case, name: str, found: Tensor) -> None:
    """Compare a value of every step, ``[T * S]``, with ``[T, S]``."""
    case.expect(name, found.view(case.arrays[name].shape))


PARITY = {
    "run_zscl": Parity(check_zscl, STRICT),
    "run_lwf": Parity(check_lwf, STRICT),
    "run_lwf_vr": Parity(check_lwf_vr, STRICT),
    "run_wise_ft": Parity(check_wise_ft, STRICT),
    "run_modx": Parity(check_modx, STRICT),
    "run_ctp": Parity(check_ctp, STRICT),
}
