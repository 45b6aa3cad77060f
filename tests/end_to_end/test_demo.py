"""The demonstration, with fewer data sets and steps than a person sees."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmcl.config import PluginConfig, RunConfig
from mmcl.demo import demo
from mmcl.results import RunResult
from mmcl.run_folder import RunFolder
from mmcl.running import run_config

MTIL = PluginConfig("mtil", {"embedded": True})


def test_the_demonstration_compares_both_strategies_with_zero_shot(
    embedded_mtil: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def shorter(config: RunConfig, **options: Any) -> RunResult:
        asked.append(config.benchmark)
        short = PluginConfig(MTIL.name, {**MTIL.options, "experiences": 3})
        return run_config(replace(config, benchmark=short), **options)

    monkeypatch.setattr("mmcl.demo.run_config", shorter)
    demo(tmp_path / "demo", training={"iterations": 2, "check_data": False})
    shown = capsys.readouterr().out
    assert asked == [MTIL, MTIL]
    assert "not the official benchmark's numbers" in " ".join(shown.split())
    assert all(name in shown for name in ("zero-shot", "finetune", "zscl", "Transfer", "Avg", "Last"))
    results = [RunFolder.open(tmp_path / "demo" / name).results for name in ("finetune", "zscl")]
    assert results[0]["matrix"][0] == results[1]["matrix"][0]
    assert len(results[0]["matrix"]) == 4
