"""Prompt pools: which prompts are chosen and how they are put together."""

import torch
from mmcl_strategies.parameter_efficient.components import Components
from mmcl_strategies.parameter_efficient.prompt_pool import PromptPool
from mmcl_strategies.parameter_efficient.prompts import behind_class_token
from mmcl_strategies.routing.keys import pull, similarities
from torch import nn

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.sites import Attention, Here

from ..case import Case, Parity, Tolerance


def check_select(case: Case) -> None:
    keys, prompts, query = case.tensor("prompt_key"), case.tensor("prompt_pool"), case.tensor("query")
    size, length, width = prompts.shape
    pool = PromptPool(
        size,
        length,
        width,
        keys.shape[1],
        top_k=case.integer("top_k"),
        batchwise=case.integer("batchwise") == 1,
        dtype=case.precision,
    )
    with torch.no_grad():
        pool.keys.copy_(keys)
        pool.prompts.copy_(prompts)
    cosines = similarities(query, pool.keys)
    case.expect("similarity", cosines)

    patches = case.tensor("x_embed")
    tokens = torch.cat([patches.new_zeros(len(patches), 1, width), patches], 1)
    if case.integer("use_forced"):
        chosen = case.tensor("forced_idx").expand(len(query), -1)
        pulled, prompted = pull(cosines, chosen), behind_class_token(tokens, pool.of(chosen))
    else:
        chosen, pulled = pool.chosen(query), pool.pull(query)
        present = torch.ones(len(query), dtype=torch.bool)
        route = Route.given(torch.zeros(len(query), dtype=torch.long))._replace(query=query)
        prompted = pool(Here(tokens, tokens, nn.Identity()), Inputs({IMAGE: query}, {IMAGE: present}, route=route))
    case.expect("idx", chosen)
    case.expect("prompted", prompted[:, 1:])
    case.expect("reduce_sim", pulled)
    loss = -case.number("pull_coeff") * pulled
    case.expect("pull_loss", loss)
    loss.backward()  # type: ignore[no-untyped-call]
    case.expect("grad_prompt_key", pool.keys.grad)
    case.require_all(("similarity", "idx", "prompted", "reduce_sim", "pull_loss", "grad_prompt_key"))


def check_compose(case: Case) -> None:
    """Row m belongs to experience m // (M / T); those of experiences to come are not made."""
    given = {"K": case.tensor("K"), "A": case.tensor("A"), "P": case.tensor("P")}
    train, last = case.integer("train") == 1, case.integer("task_index")
    count = len(given["K"]) // case.integer("n_tasks")
    components = Components(
        Attention(
            lambda module, entered: entered,
            lambda module, entered: (entered, entered, entered),
            lambda module, found: found,
        ),
        count=count,
        length=given["P"].shape[1],
        width=given["P"].shape[2],
        query=given["K"].shape[1],
        dtype=case.precision,
    )
    kinds = {"K": components.keys, "A": components.looks, "P": components.parts}
    for index in range(last + 1):
        components.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
        with torch.no_grad():
            for name, kind in kinds.items():
                kind[str(index)].copy_(given[name][count * index : count * (index + 1)])
    if train:
        components.train_only(last)
    keys, values = components.prefix(case.tensor("query"))
    case.expect("prefix_k", keys)
    case.expect("prefix_v", values)
    penalty = case.number("ortho_mu") * components.penalty() if train else torch.zeros((), dtype=case.precision)
    case.expect("ortho_loss", penalty)
    loss = (keys * case.tensor("grad_prefix_k")).sum() + (values * case.tensor("grad_prefix_v")).sum() + penalty
    loss.backward()
    for name, kind in kinds.items():
        found = torch.zeros_like(given[name])
        for index, rows in kind.items():
            if rows.grad is not None:
                found[count * int(index) : count * (int(index) + 1)] = rows.grad
        case.expect(f"grad_{name}", found)
    case.require_all(("prefix_k", "prefix_v", "ortho_loss", "grad_K", "grad_A", "grad_P"))


RECORDED = {torch.float64: Tolerance(1e-5, 1e-4), torch.float32: Tolerance(1e-5, 1e-4)}
PARITY = {
    "l2p_select": Parity(check_select, RECORDED),
    "coda_compose": Parity(check_compose, RECORDED),
}
