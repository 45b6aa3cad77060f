"""lwf, zscl_distill, zscl_l2, zscl_weight_ensemble, wise_ft and zscl_loop, through ``maths``."""

import torch
from mmcl_strategies.maths.averaging import (
    add_consolidation_gradient,
    anchored_running_mean,
    interpolate,
    interpolate_by_fisher,
    running_mean,
    weight_consolidation,
)
from mmcl_strategies.maths.distillation import (
    contrast_logits,
    head_distillation,
    image_image_term,
    image_term,
    old_heads,
    text_term,
    unit_rows,
)
from mmcl_strategies.maths.feature_distillation import mean_squared
from torch import Tensor
from torch.nn import functional

from mmcl.learning.schedule import warmup_cosine

from ..case import DEFAULT_TOLERANCES, STRICT, Case, Parity, Tolerance
from ..two_towers import check_zscl_run


def check_lwf(case: Case) -> None:
    student, teacher = case.leaf("student_logits"), case.tensor("teacher_logits")
    n_old, temperature = case.integer("n_old"), case.number("T")
    heads = old_heads(case.tensor("head_of_class"), n_old)
    kd = head_distillation(student, teacher, heads, temperature)
    divergence = head_distillation(student, teacher, heads, temperature, divergence=True)
    case.expect("kd", kd)
    case.expect("kd_kl", divergence)
    case.expect("kd_T2", head_distillation(student, teacher, heads, temperature, squared_temperature=True))
    for form in (kd, divergence):
        case.expect("grad_kd", torch.autograd.grad(form, student, retain_graph=True)[0])
    noise = torch.full_like(teacher, 1e3)
    noise[:, :n_old] = teacher[:, :n_old]
    case.expect("kd", head_distillation(student, noise, heads, temperature))
    first = 0 if case.integer("ce_mode") else n_old
    ce = functional.cross_entropy(student[:, first:], case.tensor("y") - first)
    total = ce + case.number("lam") * kd
    case.expect("ce", ce)
    case.expect("total", total)
    case.expect("grad_total", torch.autograd.grad(total, student)[0])

    images, texts = case.leaf("clip_v_student"), case.leaf("clip_t_student")
    teacher_texts, scale = case.tensor("clip_t_teacher"), case.number("clip_logit_scale")
    answer = contrast_logits(case.tensor("clip_v_teacher"), teacher_texts, scale)
    for kind, keys in (("frozen", teacher_texts), ("own", texts)):
        for direction, term in (("img", image_term), ("txt", text_term)):
            loss = term(contrast_logits(images, keys, scale), answer, case.number("clip_T"))
            case.expect(f"clip_{kind}_{direction}", loss)
            to_images, to_texts = torch.autograd.grad(loss, [images, texts], materialize_grads=True, allow_unused=True)
            case.expect(f"clip_{kind}_{direction}_grad_v", to_images)
            case.expect(f"clip_{kind}_{direction}_grad_t", to_texts)
    case.require_all(
        [*case.names("kd"), *case.names("grad_"), "ce", "total", *case.names("clip_frozen"), *case.names("clip_own")]
    )


def check_zscl_distill(case: Case) -> None:
    student, teacher, texts = case.leaf("in_student_img"), case.tensor("in_teacher_img"), case.tensor("in_teacher_txt")
    scale, temperature = case.number("hp_logit_scale"), case.number("hp_T")
    logits, answer = contrast_logits(student, texts, scale), contrast_logits(teacher, texts, scale)
    terms = {
        "image": image_term(logits, answer, temperature),
        "text": text_term(logits, answer, temperature),
        "imgimg": image_image_term(student, teacher, scale, temperature),
        "feature_mse": mean_squared(unit_rows(student), unit_rows(teacher)),
    }
    for name, term in terms.items():
        case.expect(f"out_loss_{name}", term)
    case.expect("out_kl_image", image_term(logits, answer, temperature, divergence=True))
    case.expect("out_kl_text", text_term(logits, answer, temperature, divergence=True))
    weights = {name: case.number("hp_weight") for name in terms} | {"feature_mse": 1.0}
    total = torch.stack([case.integer(f"hp_use_{name}") * weights[name] * term for name, term in terms.items()]).sum()
    case.expect("out_loss_total", total)
    case.expect("out_grad_student_img", torch.autograd.grad(total, student)[0])
    case.require_all(case.names("out_"))


def check_zscl_l2(case: Case) -> None:
    indices = range(case.integer("hp_n"))
    parameters = {f"p{k}": case.leaf(f"in_p{k}") for k in indices}
    anchor = {f"p{k}": case.tensor(f"in_r{k}") for k in indices}
    weight, loss = case.number("hp_weight"), weight_consolidation(parameters, anchor)
    case.expect("out_loss", loss)
    case.expect("out_weighted", weight * loss)
    found = torch.autograd.grad(weight * loss, list(parameters.values())) if parameters else ()
    add_consolidation_gradient(parameters, anchor, weight)
    for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
        case.expect(f"out_grad_{name}", gradient)
        case.expect(f"out_grad_{name}", parameter.grad)
    case.require_all(case.names("out_"))


def check_weight_ensemble(case: Case) -> None:
    average, anchor = {"theta": case.tensor("in_theta_start")}, {"theta": case.tensor("in_theta_anchor")}
    count = 0
    for i, weights in enumerate(case.tensor("in_theta_steps")):
        if i % case.integer("hp_avg_freq"):
            continue
        count += 1
        if case.integer("hp_mode"):
            average = anchored_running_mean(average, {"theta": weights}, anchor, count, case.number("hp_alpha"))
        else:
            average = running_mean(average, {"theta": weights}, count)
    case.expect("out_theta", average["theta"])
    case.expect("out_n_updates", count)
    case.require_all(case.names("out_"))


def check_wise_ft(case: Case) -> None:
    start, end = {"theta": case.tensor("in_theta0")}, {"theta": case.tensor("in_theta1")}
    alpha = case.number("hp_alpha")
    if case.integer("hp_use_fisher"):
        fishers = [{"theta": case.tensor(f"in_fisher{k}")} for k in (0, 1)]
        merged = interpolate_by_fisher(start, end, fishers[0], fishers[1], alpha, case.number("hp_fisher_floor"))
    else:
        merged = interpolate(start, end, alpha)
    case.expect("out_theta", merged["theta"])
    case.require_all(case.names("out_"))


def check_zscl_loop(case: Case) -> None:
    """A whole experience: through the real learner, then with the pure functions, terms that are off included."""
    check_zscl_run(case)
    names = ("W_img", "b_img", "W_txt", "b_txt")
    teacher = {name: case.tensor(f"in_teacher_{name}") for name in names}
    weights = {name: case.leaf(f"in_start_{name}") for name in names}
    anchor = {name: tensor.detach().clone() for name, tensor in weights.items()}
    average, count = anchor, 0
    scale, total_steps = case.number("hp_logit_scale"), case.integer("hp_total_iterations")
    optimizer = torch.optim.AdamW(
        list(weights.values()),
        lr=case.number("hp_lr"),
        betas=(0.9, case.number("hp_beta2")),
        weight_decay=case.number("hp_wd"),
    )
    curves: dict[str, list[Tensor]] = {}
    teacher_texts = case.tensor("in_ref_texts") @ teacher["W_txt"] + teacher["b_txt"]
    for i in range(total_steps + 1):
        rate = warmup_cosine(i, case.number("hp_lr"), case.integer("hp_warmup"), total_steps)
        optimizer.param_groups[0]["lr"] = rate
        features = case.tensor("in_images")[i] @ weights["W_img"] + weights["b_img"]
        classes = case.tensor("in_class_tokens") @ weights["W_txt"] + weights["b_txt"]
        ce = functional.cross_entropy(
            contrast_logits(features, classes, scale),
            case.tensor("in_labels")[i],
            label_smoothing=case.number("hp_ls"),
        )
        l2 = weight_consolidation(weights, anchor)
        references = case.tensor("in_ref_images")[i]
        logits = contrast_logits(references @ weights["W_img"] + weights["b_img"], teacher_texts, scale)
        answer = contrast_logits(references @ teacher["W_img"] + teacher["b_img"], teacher_texts, scale)
        to_texts = image_term(logits, answer, case.number("hp_T"))
        to_images = text_term(logits, answer, case.number("hp_T"))
        distilled = case.integer("hp_use_image") * to_texts + case.integer("hp_use_text") * to_images
        learned = ce + case.number("hp_lambda") * distilled
        optimizer.zero_grad()
        learned.backward()
        add_consolidation_gradient(weights, anchor, case.number("hp_l2"))
        optimizer.step()
        if i % case.integer("hp_avg_freq") == 0:
            count += 1
            average = running_mean(average, weights, count)
        values = {
            "ce": ce,
            "l2": l2,
            "dist_img": to_texts,
            "dist_txt": to_images,
            "total": learned + case.number("hp_l2") * l2,
            "lr": torch.tensor(rate, dtype=case.precision),
            "theta_traj": flat(weights),
        }
        for name, value in values.items():
            curves.setdefault(f"out_{name}", []).append(value.detach())
    for name, history in curves.items():
        case.expect(name, torch.stack(history))
    case.expect("out_theta_final", flat(weights))
    case.expect("out_theta_we", flat(average))
    case.expect("out_n_we_updates", count)
    case.require_all(case.names("out_"))


def flat(weights: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in weights.values()])


PARITY = {
    "lwf": Parity(check_lwf, {torch.float64: Tolerance(1e-12, 1e-7), torch.float32: Tolerance(1e-6, 1e-4)}),
    "zscl_distill": Parity(check_zscl_distill, DEFAULT_TOLERANCES),
    "zscl_l2": Parity(check_zscl_l2, DEFAULT_TOLERANCES),
    "zscl_weight_ensemble": Parity(check_weight_ensemble, DEFAULT_TOLERANCES),
    "wise_ft": Parity(check_wise_ft, DEFAULT_TOLERANCES),
    "zscl_loop": Parity(check_zscl_loop, STRICT),
}
