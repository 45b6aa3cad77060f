"""metric_spatial_disorder, through ``mmcl.evaluation.spatial_disorder``."""

import torch

from mmcl.evaluation.spatial_disorder import (
    Bins,
    Pairs,
    angles,
    deviation,
    disorder,
    pair_angle_change,
    topology_change,
)

from ..case import Case, Parity, Tolerance

EXACT = Tolerance(1e-9, 0.0)
RESIDUAL = Tolerance(1e-7, 0.0)


def check_spatial_disorder(case: Case) -> None:
    earlier, later = (Pairs(case.arrays[f"in_img_{side}"], case.arrays[f"in_txt_{side}"]) for side in "ab")
    rotation = {"img": angles(earlier.image, later.image), "txt": angles(earlier.text, later.text)}
    found = disorder(earlier, later, bins=Bins(case.arrays["in_ram_bins"], case.arrays["in_sam_bins"]))
    for name, degrees in rotation.items():
        case.expect(f"out_ram_{name}", degrees)
    case.expect("out_sam_change_img", topology_change(earlier.image, later.image))
    case.expect("out_sam_change_txt", topology_change(earlier.text, later.text))
    case.expect("out_inter_deviation", deviation(rotation["img"], rotation["txt"]))
    case.expect("out_pair_angle_change", pair_angle_change(earlier, later))
    case.expect("out_inter_deviation_mean", found.deviation)
    case.expect("out_pair_angle_change_mean", found.pair_angle_change)
    for name, movement in (("img", found.image), ("txt", found.text)):
        case.expect(f"out_ram_{name}_mean", movement.rotation)
        case.expect(f"out_sam_change_{name}_mean", movement.topology_change)

    case.tolerance = EXACT
    case.expect("out_forgot_rate", found.forgotten)
    case.expect("out_learned_rate", found.learned)
    for name, movement in (("img", found.image), ("txt", found.text)):
        case.expect(f"out_ram_{name}_hist", movement.rotation_shares)
        case.expect(f"out_sam_change_{name}_hist", movement.topology_shares)

    case.tolerance = RESIDUAL
    case.expect("out_procrustes_residual_img", found.image.residual)
    case.expect("out_procrustes_residual_txt", found.text.residual)
    case.require_all(case.names("out_"))


# angles in degrees, absolute: the expected values come from the arc cosine
PARITY = {"metric_spatial_disorder": Parity(check_spatial_disorder, {torch.float64: Tolerance(1e-4, 0.0)})}
