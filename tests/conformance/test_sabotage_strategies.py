"""A strategy that breaks one promise fails the check of that promise, for that reason."""

from pathlib import Path

import pytest

from mmcl.learning.strategy import StrategyPlugin
from mmcl.registry import STRATEGIES
from mmcl.testing import STRATEGY_CHECKS
from mmcl.testing.laboratory.setting import CHANGING_SETTING, CLASS_SETTING

from .sabotage import Sabotage, require
from .wrong_conduct import WRONG_CONDUCT
from .wrong_declarations import WRONG_DECLARATIONS

SABOTAGES = (*WRONG_DECLARATIONS, *WRONG_CONDUCT)


@pytest.mark.filterwarnings("ignore:Plugin MisspeltHook")  # avalanche has its doubts too
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=str)
def test_a_broken_promise_is_found(sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # one setting is enough to see a sabotage, and samples lack a modality in one of them only
    setting = CHANGING_SETTING if sabotage.check == "missing modalities" else CLASS_SETTING
    monkeypatch.setattr("mmcl.testing.laboratory.setting.CLIP_SETTINGS", (setting,))
    monkeypatch.chdir(tmp_path)  # some of them write files
    require(sabotage, STRATEGIES, STRATEGY_CHECKS)


def test_every_check_of_strategies_has_been_seen_to_fail() -> None:
    assert {sabotage.check for sabotage in SABOTAGES} == {check.name for check in STRATEGY_CHECKS}


def test_all_sabotages_are_strategies_of_one_class() -> None:
    for sabotage in SABOTAGES:
        assert sabotage.plugin.__bases__ == (StrategyPlugin,)
