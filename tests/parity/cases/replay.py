"""reservoir, through ``mmcl.data.selection``, and icarl_herding, through what ``icarl`` calls."""

import numpy as np
import torch
from mmcl_strategies.replay.icarl import icarl_losses, next_exemplars
from mmcl_strategies.replay.nearest_mean import prototype, squared_distances

from mmcl.data.selection import given_up, herding, largest_keys, reservoir_contents, reservoir_slot, reservoir_slots

from ..case import Case, Parity, Tolerance


def check_reservoir(case: Case) -> None:
    size, draws = case.integer("size"), case.arrays["u"]
    slots = reservoir_slots(0, size, draws)
    case.expect("slot", np.array(slots, dtype=np.int64).reshape(-1))
    case.expect("buffer", np.array(reservoir_contents(slots, size), dtype=np.int64).reshape(-1))
    unbounded = [reservoir_slot(k, 0, u) for k, u in enumerate(draws)]
    assert set(unbounded) <= {-1}, "a memory without slots accepted an item"
    assert len(slots) == case.integer("n_stream")

    keys = torch.from_numpy(np.array(case.arrays["keys"]))
    kept, position, after_chunks = torch.empty(0, dtype=torch.long), 0, []
    for length in case.arrays["chunks"]:
        joined = torch.cat([kept, torch.arange(position, position + int(length))])
        kept = joined[largest_keys(keys[joined], size)]
        position += int(length)
        after_chunks.append(np.pad(kept.numpy(), (0, size - len(kept)), constant_values=-1))
    case.expect("key_kept", np.array(after_chunks, dtype=np.int64).reshape(len(after_chunks), size))

    position, inside, by_one = 0, [], []
    for length in case.arrays["chunks"]:
        for item in range(position, position + int(length)):
            inside.append(item)
            if len(inside) > size:
                del inside[given_up([float(keys[i]) for i in inside], [0] * len(inside))]
        position += int(length)
        inside.sort(key=lambda i: -float(keys[i]))
        by_one.append(np.pad(np.array(inside, dtype=np.int64), (0, size - len(inside)), constant_values=-1))
    case.expect("key_kept", np.array(by_one, dtype=np.int64).reshape(len(by_one), size))
    case.require_all(["slot", "buffer", "key_kept"])


def check_icarl_herding(case: Case) -> None:
    features, labels = case.tensor("features"), case.tensor("labels")
    new, budget = case.arrays["classes_per_task"].tolist(), case.integer("budget")
    classes, per_class = sum(new), [budget // sum(new[: t + 1]) for t in range(len(new))]
    case.expect("per_class", np.array(per_class))
    kept: dict[int, dict[int, list[int]]] = {}
    exemplars = np.full(case.arrays["exemplars"].shape, -1)
    means = torch.zeros(case.arrays["class_means"].shape, dtype=case.precision)
    for t, quota in enumerate(per_class):
        arriving = [label for label in labels.unique().tolist() if sum(new[:t]) <= label < sum(new[: t + 1])]
        rows = torch.isin(labels, torch.tensor(arriving, dtype=torch.long)).nonzero().flatten()
        kept = next_exemplars(kept, quota, t, features[t][rows], labels[rows], take=lambda i, rows=rows: int(rows[i]))
        assert sum(len(items) for lists in kept.values() for items in lists.values()) <= budget
        for label, lists in kept.items():
            items = [item for visit in lists.values() for item in visit]
            exemplars[t, label, : len(items)] = items
            if items:
                means[t, label] = prototype(features[t][items])
    case.expect("exemplars", exemplars)
    case.expect("class_means", means)
    own = (labels == 0).nonzero().flatten()
    case.expect("rank_class0", own[herding(features[0][own], len(own))])

    held = torch.tensor([any(kept.get(label, {}).values()) for label in range(classes)])
    distances = squared_distances(case.tensor("query"), means[-1], held)
    case.expect("query_dist", distances.masked_fill(~held, -1))
    case.expect("query_pred", distances.argmin(1) if held.any() else torch.full((len(distances),), -1))

    logits, answers = case.leaf("loss_logits"), case.tensor("loss_teacher_logits")
    old = torch.arange(logits.shape[1]) < case.integer("loss_n_old")
    losses = icarl_losses(logits, case.tensor("loss_y"), answers, old)
    case.expect("loss_sum", losses.sum())
    case.expect("loss_mean", losses.mean())
    case.expect("loss_grad_mean", torch.autograd.grad(losses.mean(), logits)[0])
    case.require_all(["per_class", "exemplars", "class_means", "rank_class0", *case.names("query_"), "loss_sum"])


PARITY = {
    "reservoir": Parity(check_reservoir, {torch.float64: Tolerance(0.0, 0.0)}),
    "icarl_herding": Parity(check_icarl_herding, {torch.float64: Tolerance(0.0, 1e-8)}),
}
