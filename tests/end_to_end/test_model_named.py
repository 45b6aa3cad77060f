"""Results and report name the model that was trained: where it comes from, its activation, a digest of its weights."""

from pathlib import Path

import pytest

import mmcl
from mmcl.backbones.openclip import GlyphCLIP, OpenCLIP, OpenCLIPBackbone
from mmcl.models.digest import weights_digest
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark

SHORT = {"iterations": 1, "batch_size": 4}


def test_results_and_report_name_the_model_before_training(tmp_path: Path) -> None:
    run = mmcl.run(benchmark=toy_benchmark(TIL, experiences=1), training=SHORT, out=tmp_path / "run", quiet=True)
    before = GlyphCLIP().build()
    assert run.results["model"] == {**before.description, "digest": weights_digest(before)}
    facts = run.results["model"]
    assert (facts["model"], facts["activation"]) == ("glyph-clip", "GELU")
    report = (tmp_path / "run" / "report.md").read_text()
    line = next(line for line in report.splitlines() if line.startswith("- model: glyph-clip; weights:"))
    assert f"digest: {facts['digest']}" in line
    assert "activation: GELU" in line


@pytest.mark.filterwarnings("default::mmcl.remarks.Remark")
def test_a_doubt_about_the_weights_is_a_remark_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubtful(_: OpenCLIP) -> OpenCLIPBackbone:
        backbone = GlyphCLIP().build()
        backbone.remarks = ("the mean is not sure",)
        return backbone

    monkeypatch.setattr(OpenCLIP, "build", doubtful)
    with pytest.warns(mmcl.remarks.Remark, match="the mean is not sure"):
        run = mmcl.run(
            benchmark=toy_benchmark(TIL, experiences=1),
            backbone="openclip:ViT-L-14/openai",
            training=SHORT,
            out=tmp_path / "run",
            quiet=True,
        )
    assert "the mean is not sure" in run.results["remarks"]
