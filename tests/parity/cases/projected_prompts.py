"""Fwd-Prompt: subspaces of embeddings, projected updates, and prompts chosen by two keys; our reconstruction."""

import torch
from mmcl_strategies.maths.subspaces import extended, inside, moment, outside
from mmcl_strategies.parameter_efficient.bimodal_pool import BimodalPool
from mmcl_strategies.parameter_efficient.prompts import behind_class_token
from mmcl_strategies.routing.keys import best

from ..case import Case, Parity, Tolerance


def check(case: Case) -> None:
    reference, tasks, gradients = (case.tensor(name) for name in ("pretrain_embeds", "task_embeds", "grads"))
    nothing = reference.new_empty(reference.shape[1], 0)
    core = extended(nothing, moment(reference), case.number("eps_pre"))
    case.expect("rank_pre", core.shape[1])
    case.expect("proj_pre", core @ core.T)

    memory, ranks, projectors = nothing, [], []
    updates: dict[str, list[torch.Tensor]] = {"residual": [], "pretrained": [], "both": []}
    for embeddings, gradient in zip(tasks, gradients, strict=True):
        updates["residual"].append(outside(gradient, memory))
        updates["pretrained"].append(inside(gradient, core))
        updates["both"].append(outside(inside(gradient, core), memory))
        wider = extended(memory, moment(embeddings), case.number("eps_task"))
        ranks.append(wider.shape[1] - memory.shape[1])
        memory = wider
        projectors.append(memory @ memory.T)
    case.expect("rank_added", ranks)
    case.expect("proj_memory_after", torch.stack(projectors))
    for mode, found in updates.items():
        case.expect(f"grad_{mode}", torch.stack(found))

    values = case.tensor("prompt_values")
    size, length, width = values.shape
    image, text = case.tensor("image_keys"), case.tensor("text_keys")
    pool = BimodalPool(
        size,
        length,
        width,
        image=image.shape[1],
        text=text.shape[1],
        top_k=case.integer("top_k"),
        place=behind_class_token,
        dtype=case.precision,
    )
    with torch.no_grad():
        for parameter, given in ((pool.image_keys, image), (pool.text_keys, text), (pool.prompts, values)):
            parameter.copy_(given)
    query = torch.cat([case.tensor("image_query"), case.tensor("text_query")], dim=1)
    found = pool.similarities(query)
    case.expect("similarity", found)
    case.expect("idx", best(found, pool.top_k))
    case.expect("selected_prompts", pool.of(query))
    case.require_all(
        (
            *("rank_pre", "proj_pre", "rank_added", "proj_memory_after", "similarity", "idx", "selected_prompts"),
            *("grad_residual", "grad_pretrained", "grad_both"),
        )
    )


PARITY = {"fwd_prompt_projection": Parity(check, {torch.float64: Tolerance(1e-8, 1e-6)})}
