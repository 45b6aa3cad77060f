"""A whole run under another setting than the recorded one is not taken for it."""

from pathlib import Path

import numpy as np
import pytest

from .runner import DATA, read, registry, run

KNOWN = registry()


@pytest.mark.parametrize(
    ("method", "setting", "factor"),
    [
        ("run_zscl", "hp_beta2", 0.98),
        ("run_zscl", "hp_l2", 1.01),
        ("run_lwf", "hp_T", 1.01),
        ("run_lwf_vr", "hp_T", 1.01),
        ("run_wise_ft", "hp_alpha", 0.99),
        ("run_modx", "hp_alpha", 1.01),
        ("run_ctp", "hp_wd", 1.01),
        ("run_hat", "hp_lamb", 1.01),
        ("run_ewc", "hp_strength", 1.01),
        ("run_online_ewc", "hp_gamma", 0.99),
        ("run_icarl", "hp_T", 1.01),
    ],
)
def test_other_setting_leaves_the_trajectory(method: str, setting: str, factor: float, tmp_path: Path) -> None:
    arrays = read(DATA / method / "case_1.npz")
    arrays[setting] = arrays[setting] * factor
    (tmp_path / method).mkdir()
    np.savez(tmp_path / method / "case_1.npz", **arrays)
    with pytest.raises(AssertionError, match="deviates by"):
        run(tmp_path / method / "case_1.npz", KNOWN)
