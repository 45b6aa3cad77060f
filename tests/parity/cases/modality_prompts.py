"""Prompts by modality: how those of image, question and fusion are tied together, and which task each of them finds."""

import torch
from mmcl_strategies.parameter_efficient.interaction import Matrix, agreement, change
from mmcl_strategies.routing.modality_matching import ModalityMatching

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Encoded, Features

from ..case import Case, Parity, Tolerance

TOWERS = (IMAGE, TEXT, "fusion")


def check_losses(case: Case) -> None:
    keys, queries, prompts = case.tensor("keys"), case.tensor("queries"), case.leaf("prompts")
    rows, width, task = queries.shape[1], keys.shape[2], case.integer("task")
    router = ModalityMatching(TOWERS, width, dtype=case.precision)
    for index in range(keys.shape[1]):
        router.meet(Arrival(index, LabelSpace(), frozenset({IMAGE, TEXT})))
        with torch.no_grad():
            router.keys[str(index)].copy_(keys[:, index])
    present = dict.fromkeys(TOWERS, torch.ones(rows, dtype=torch.bool))
    tokens = [torch.stack([query, torch.full_like(query, torch.nan)], dim=1) for query in queries]
    features = {name: Features(found[:, 1], found) for name, found in zip(TOWERS, tokens, strict=True)}
    inputs = Inputs({IMAGE: queries[0]}, {IMAGE: present[IMAGE]})

    def plain(_: Inputs) -> Encoded:
        return Encoded(features, present, torch.ones(()))

    route = router.told(torch.full((rows,), task), inputs, plain)
    assert isinstance(route, Route)
    case.expect("loss_qm", -router.matching(route))
    found = router(inputs, plain)
    case.expect("similarity", router.cosines(router.queries(found)))
    assert found.of_parts is not None
    case.expect("task_per_modality", found.of_parts)
    assert torch.equal(found.ids, found.of_parts[:, 2])

    u, v = case.tensor("low_rank_u"), case.tensor("low_rank_v")
    matrices = [Matrix(width, u.shape[3], case.precision) for _ in range(u.shape[1])]
    for layer, matrix in enumerate(matrices):
        with torch.no_grad():
            matrix.u.copy_(u[:, layer])
            matrix.v.copy_(v[:, layer])
    image, question, fusion = prompts
    expected = [matrix(image[layer], question[layer]) for layer, matrix in enumerate(matrices)]
    case.expect("fusion_hat", torch.stack(expected))
    loss_mod = -torch.stack([agreement(*pair) for pair in zip(expected, fusion, strict=True)]).sum()
    case.expect("loss_mod", loss_mod)
    loss_task = change(torch.stack([matrix.whole for matrix in matrices], dim=1), case.tensor("w_prev"))
    case.expect("loss_task", loss_task)
    weights = case.tensor("lambdas")
    total = -weights[0] * router.matching(route) + weights[1] * loss_mod + weights[2] * loss_task
    case.expect("aux_total", total)
    total.backward()  # type: ignore[no-untyped-call]
    gradients = [key.grad for key in router.keys.values()]
    case.expect("grad_keys", torch.stack([g for g in gradients if g is not None], dim=1))
    case.expect("grad_prompts", prompts.grad)
    case.expect("grad_u", torch.stack([matrix.u.grad for matrix in matrices if matrix.u.grad is not None], dim=1))
    case.expect("grad_v", torch.stack([matrix.v.grad for matrix in matrices if matrix.v.grad is not None], dim=1))
    case.require_all(
        (
            "loss_qm",
            "similarity",
            "task_per_modality",
            "fusion_hat",
            "loss_mod",
            "loss_task",
            "aux_total",
            "grad_keys",
            "grad_prompts",
            "grad_u",
            "grad_v",
        )
    )


RECORDED = {torch.float64: Tolerance(1e-8, 1e-6), torch.float32: Tolerance(1e-5, 1e-4)}
PARITY = {"triplet_losses": Parity(check_losses, RECORDED)}
