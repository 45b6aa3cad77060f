"""merge_task_arithmetic, merge_ties and merge_magmax, by the objects that the strategy merges with."""

from collections.abc import Callable

import torch
from mmcl_strategies.parameter_efficient.merging import TIES, Kept, MagMax, Merging, TaskArithmetic, added, task_vector
from torch import Tensor

from ..case import DEFAULT_TOLERANCES, Case, Parity


def parts(theta: Tensor) -> dict[str, Tensor]:
    """Weights of three names and shapes: what is trimmed is trimmed of all together."""
    return {"matrix": theta[:12].view(3, 4), "vector": theta[12:19], "cube": theta[19:].view(1, 7, 3)}


def flat(named: dict[str, Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in named.values()])


def checked(make: Callable[[float], Merging]) -> Callable[[Case], None]:
    def check(case: Case) -> None:
        merging, initial = make(case.number("hp_density")), parts(case.tensor("in_theta0"))
        kept: Kept = {}
        vectors, thetas = [], []
        for theta in case.tensor("in_thetas"):
            kept = merging.joined(kept, task_vector(parts(theta), initial))
            vectors.append(flat(merging.merged(kept)))
            thetas.append(flat(added(initial, merging.merged(kept), case.number("hp_scale"))))
        case.expect("out_merged", torch.stack(vectors))
        case.expect("out_theta", torch.stack(thetas))
        case.require_all(case.names("out_"))

    return check


PARITY = {
    "merge_task_arithmetic": Parity(checked(lambda density: TaskArithmetic()), DEFAULT_TOLERANCES),
    "merge_ties": Parity(checked(TIES), DEFAULT_TOLERANCES),
    "merge_magmax": Parity(checked(lambda density: MagMax()), DEFAULT_TOLERANCES),
}
