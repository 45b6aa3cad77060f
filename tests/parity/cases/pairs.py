"""lwf_vr, modx_offdiag, ctp_loss, kdr_loss and kdr_fusion, through the functions and modules of the strategies."""

import torch
from mmcl_strategies.distillation.ctp import (
    enqueue,
    image_text_contrast,
    masked_token_losses,
    momentum_contrast,
    topology,
)
from mmcl_strategies.distillation.modx import alignment, kept_rows
from mmcl_strategies.maths.distillation import contrast_logits, image_term, text_term, unit_rows
from mmcl_strategies.maths.sentences import sentences_of
from mmcl_strategies.replay.decomposed_head import PrivatePart, SharedPath
from mmcl_strategies.replay.kdr import hardest_hinge, replay_divergence
from torch import Tensor, nn

from mmcl.data.modality import IMAGE, TEXT
from mmcl.learning.teachers import compatible_update, momentum_update
from mmcl.models.backbone import Vocabulary
from mmcl.objectives.likelihoods import pair_log_likelihood

from ..case import DEFAULT_TOLERANCES, Case, Parity, Tolerance


def expect_gradients(case: Case, total: Tensor, names: list[str], leaves: list[Tensor]) -> None:
    """The derivative of ``total`` by every leaf, under ``out_grad_`` and its name."""
    gradients = torch.autograd.grad(total, leaves, materialize_grads=True, allow_unused=True)
    for name, gradient in zip(names, gradients, strict=True):
        case.expect(f"out_grad_{name}", gradient)


def check_lwf_vr(case: Case) -> None:
    ids, context = case.tensor("in_random_ids"), case.integer("hp_context_length")
    # the size of the vocabulary enters the draw only
    tokens = sentences_of(ids, Vocabulary(0, case.integer("hp_sot"), case.integer("hp_eot"), 0), context)
    case.expect("out_tokens", tokens)
    case.expect("out_eot_position", tokens.argmax(dim=1))
    student, texts, scale = case.leaf("in_student_img"), case.tensor("in_teacher_txt"), case.number("hp_logit_scale")
    logits, answer = (contrast_logits(rows, texts, scale) for rows in (student, case.tensor("in_teacher_img")))
    image, text = (term(logits, answer, case.number("hp_T")) for term in (image_term, text_term))
    case.expect("out_loss_image", image)
    case.expect("out_loss_text", text)
    case.expect("out_loss_total", image + text)
    expect_gradients(case, image + text, ["student_img"], [student])
    case.require_all(case.names("out_"))


def check_modx(case: Case) -> None:
    image, text = case.leaf("in_student_img"), case.leaf("in_student_txt")
    old_image, old_text = case.tensor("in_old_img"), case.tensor("in_old_txt")
    answer = unit_rows(old_image) @ unit_rows(old_text).T
    case.expect("out_keep_rows_i2t", kept_rows(answer).long())
    case.expect("out_keep_rows_t2i", kept_rows(answer.T).long())
    found = alignment(image, text, old_image, old_text)
    case.expect("out_kl_i2t", found.image_to_text)
    case.expect("out_kl_t2i", found.text_to_image)
    distilled = (found.image_to_text + found.text_to_image) / 2
    contrast = -pair_log_likelihood(image, text, case.tensor("hp_logit_scale")).mean()
    total = contrast + case.number("hp_alpha") * distilled
    case.expect("out_distill", distilled)
    case.expect("out_infonce", contrast)
    case.expect("out_total", total)
    expect_gradients(case, total, ["student_img", "student_txt"], [image, text])
    case.require_all(case.names("out_"))


def check_ctp(case: Case) -> None:
    image, text = case.leaf("in_student_img"), case.leaf("in_student_txt")
    moving = case.tensor("in_mom_img"), case.tensor("in_mom_txt")
    queues, temperature = (case.tensor("in_image_queue"), case.tensor("in_text_queue")), case.number("hp_temp")
    later, tokens = bool(case.integer("hp_mode")), case.leaf("in_mlm_student_logits")
    cross, same = topology(image, text, case.tensor("in_ref_img"), case.tensor("in_ref_txt"), temperature)
    mlm, mlm_distill = masked_token_losses(
        tokens, case.tensor("in_mlm_mom_logits"), case.tensor("in_mlm_labels"), case.number("hp_distill_temp")
    )
    terms = {
        "itc": image_text_contrast(image, text, temperature),
        "cmc": momentum_contrast(image, text, *moving, *queues, temperature),
        "tp_cross": cross,
        "tp_same": same,
        "mlm": mlm,
        "mlm_distill": mlm_distill,
    }
    for name, term in terms.items():
        case.expect(f"out_{name}", term)
    total = torch.stack([term for name, term in terms.items() if later or not name.startswith("tp_")]).sum()
    case.expect("out_total", total)
    names = ["student_img", "student_txt", "mlm_student_logits"]
    expect_gradients(case, total, names, [image, text, tokens])
    position = case.integer("in_queue_ptr")
    for name, queue, rows in zip(("image", "text"), queues, moving, strict=True):
        new, end = enqueue(queue, rows, position)
        case.expect(f"out_{name}_queue", new)
        case.expect("out_queue_ptr", end)
    student, reference, average = ({"w": case.tensor(f"in_theta_{n}")} for n in ("student", "ref", "momentum"))
    rate = case.number("hp_momentum")
    moved = (
        compatible_update(average, student, reference, rate, 0.5) if later else momentum_update(average, student, rate)
    )
    case.expect("out_theta_momentum", moved["w"])
    case.require_all(case.names("out_"))


def check_kdr_loss(case: Case) -> None:
    names = ["new_img", "new_txt", "img_res", "txt_res"]
    leaves = [case.leaf(f"in_{name}") for name in names]
    rank = replay_divergence(*leaves[:2], case.tensor("in_old_img"), case.tensor("in_old_txt"), case.number("hp_tem"))
    triplet = hardest_hinge(*leaves[2:], case.number("hp_margin"))
    total = triplet + case.number("hp_weight") * rank
    case.expect("out_rank_loss", rank)
    case.expect("out_triplet", triplet)
    case.expect("out_total", total)
    expect_gradients(case, total, names, leaves)
    case.require_all(case.names("out_"))


def check_kdr_fusion(case: Case) -> None:
    image_width, width = case.tensor("in_img_share").shape[1], case.tensor("in_shared_w").shape[0]
    shared, private = SharedPath(image_width, width), PrivatePart(image_width, width)
    layers: dict[str, nn.Linear] = {
        "imgembed": shared.image,
        "shared": shared.common,
        "imgembed0a": private.image_first,
        "imgembed0b": private.image_second,
        "imgprivate": private.image_gate,
        "txtprivate": private.text_gate,
        "head": private.head,
    }
    for name, layer in layers.items():
        layer.weight = nn.Parameter(case.tensor(f"in_{name}_w"))
        layer.bias = nn.Parameter(case.tensor(f"in_{name}_b"))
    sides = {IMAGE: "img", TEXT: "txt"}
    path = shared({name: case.tensor(f"in_{side}_share") for name, side in sides.items()})
    frozen = {name: case.tensor(f"in_{side}_priv") for name, side in sides.items()}
    gates, found = private.gates(frozen), private(path, frozen)
    for name, side in sides.items():
        case.expect(f"out_{side}_shared", path[name])
        case.expect(f"out_{side}_private", gates[name])
        case.expect(f"out_{side}_res", found[name])
    case.expect("out_similarity", unit_rows(found[IMAGE]) @ unit_rows(found[TEXT]).T)
    case.require_all(case.names("out_"))


FUSION = Tolerance(1e-5, 1e-4)
PARITY = {
    "lwf_vr": Parity(check_lwf_vr, DEFAULT_TOLERANCES),
    "modx_offdiag": Parity(check_modx, DEFAULT_TOLERANCES),
    "ctp_loss": Parity(check_ctp, DEFAULT_TOLERANCES),
    "kdr_loss": Parity(check_kdr_loss, DEFAULT_TOLERANCES),
    "kdr_fusion": Parity(check_kdr_fusion, {torch.float64: FUSION, torch.float32: FUSION}),
}
