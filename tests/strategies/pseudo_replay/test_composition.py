"""Pseudo replay together with others, on every scenario: it trains, or the reason of the refusal is the right one."""

import pytest

from mmcl.build import backbone
from mmcl.streams.scenario import SCENARIOS
from mmcl.testing.compatibility import TRAINS, try_out

OTHERS = ("ewc", "lwf", "replay", "zscl")


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", ["dgr", "feature_replay"])
def test_it_trains_with_others_wherever_it_trains_at_all(name: str, other: str, scenario: str) -> None:
    outcome = try_out((name, other), scenario, backbone("glyph-clip"))
    if scenario == "GDIL":
        assert "a backbone that writes text" in outcome
    elif scenario == "MDTIL" and name == "dgr":
        assert "a stream of images alone" in outcome
    else:
        assert outcome == TRAINS


@pytest.mark.parametrize("scenario", ["CIL", "DIL", "TIL"])
def test_the_two_do_not_replace_the_task_loss_together(scenario: str) -> None:
    assert "replace the task loss (slot OBJECTIVE)" in try_out(
        ("dgr", "feature_replay"), scenario, backbone("glyph-clip")
    )
