import pytest
import torch

import mmcl
from mmcl.backbones.openclip import tiny_clip
from mmcl.errors import PluginError
from mmcl.learning.refusals import not_finite
from mmcl.testing.toy import toy_benchmark


@pytest.mark.parametrize("member", ["current", "batch", "output"])
def test_what_is_not_there_before_training_is_refused_with_the_hooks_in_which_it_is(member: str) -> None:
    learner = mmcl.Learner(model=mmcl.MultimodalModel(tiny_clip()), scenario=toy_benchmark().scenario)
    with pytest.raises(PluginError, match=r"asked for while there is none.*from (before|after)_"):
        getattr(learner, member)


def test_the_term_that_broke_a_loss_is_named() -> None:
    broken, sound = torch.tensor(float("nan")), torch.tensor(1.0)
    assert "from the term 'zscl/image'" in str(not_finite("x", 3, broken, {"task": sound, "zscl/image": broken}))
    assert "from the term sum" in str(not_finite("x", 3, broken, {"task": sound}))
