"""A run knows what it is: what it was told stays with it, and it goes on with nothing else than it began with."""

from pathlib import Path

import pytest
from avalanche.core import SupervisedPlugin

from mmcl.config import PluginConfig, RunConfig
from mmcl.experiment import Experiment, names_of
from mmcl.run_folder import RunFolder
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark


class Stop(SupervisedPlugin):
    """Interrupts the training of an experience, counted from 0; -1: of none."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def before_training_exp(self, strategy: object, *_: object, **__: object) -> None:
        if strategy.experience.index == self.at:  # type: ignore[attr-defined]
            raise KeyboardInterrupt


@pytest.mark.filterwarnings("error::mmcl.remarks.Remark")
def test_a_remark_stays_with_a_run_that_is_resumed_and_is_not_said_again(tmp_path: Path) -> None:
    folder = RunFolder.claim(tmp_path / "run")
    config, plugins = RunConfig(PluginConfig("in-memory:toy")), [Stop(1)]
    experiment = Experiment(config, folder, toy_benchmark(TIL, experiences=2), quiet=True, plugins=plugins)
    folder.begin(config, names_of(plugins))
    with pytest.raises(UserWarning, match="few samples"):
        experiment.remarks.add("few samples")
    with pytest.raises(KeyboardInterrupt):
        experiment.run()
    again = Experiment(config, folder, toy_benchmark(TIL, experiences=2), quiet=True, plugins=[Stop(-1)])
    again.remarks.add("few samples")
    again.restore()
    assert again.run().results["remarks"] == ["few samples"]
    assert "## Remarks\n\n- few samples\n" in (tmp_path / "run" / "report.md").read_text()
