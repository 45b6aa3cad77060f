"""The demonstration, with fewer steps than a person sees."""

from pathlib import Path

import pytest

from mmcl.demo import demo
from mmcl.run_folder import RunFolder


def test_the_demonstration_compares_both_strategies_with_zero_shot(
    embedded_mtil: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo(tmp_path / "demo", training={"iterations": 2, "check_data": False})
    shown = capsys.readouterr().out
    assert "not the official benchmark's numbers" in " ".join(shown.split())
    assert all(name in shown for name in ("zero-shot", "finetune", "zscl", "Transfer", "Avg", "Last"))
    results = [RunFolder.open(tmp_path / "demo" / name).results for name in ("finetune", "zscl")]
    assert results[0]["matrix"][0] == results[1]["matrix"][0]
    assert len(results[0]["matrix"]) == 12
