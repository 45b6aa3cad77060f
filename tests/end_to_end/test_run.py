"""Runs as a whole: interrupted, extended, exported, used."""

import json
import random
import shutil
import time
from pathlib import Path

import open_clip
import pytest
import torch
from mmcl_strategies.distillation.zscl import ZSCL
from PIL import Image
from typer.testing import CliRunner

import mmcl
from mmcl.backbones.openclip import GlyphCLIP
from mmcl.cli import app
from mmcl.errors import CheckpointError, ConfigError
from mmcl.run_folder import RunFolder
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import TIL
from mmcl.testing.encoded import encoded
from mmcl.testing.toy import toy_benchmark
from mmcl.use import trained_model

from .command import start

SMALL = [
    "--set",
    "iterations=3",
    "--set",
    "batch_size=8",
    "--set",
    "benchmark.experiences=3",
    "--set",
    "check_data=false",
]
NUMBERS = ("matrix", "rows", "columns", "summary", "parameters", "strategies", "training", "metadata", "test_sizes")


def finish(*arguments: str) -> None:
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0, outcome.output


def numbers(folder: Path) -> dict[str, object]:
    results = json.loads((folder / "results.json").read_text())
    return {name: results[name] for name in NUMBERS}


@pytest.mark.parametrize("strategies", [["zscl"], ["ewc:samples=8", "replay:size=20"]], ids="+".join)
def test_a_killed_run_that_is_resumed_ends_with_the_same_numbers(
    strategies: list[str], embedded_mtil: Path, tmp_path: Path
) -> None:
    chosen = [part for name in strategies for part in ("--strategy", name)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish("run", "mtil", "--embedded", *chosen, *SMALL, "--out", str(whole))
    process = start(("run", "mtil", "--embedded", *chosen, *SMALL, "--out", str(killed)), tmp_path, {})
    wanted = random.Random("+".join(strategies)).choice([0, 1, 2])
    while process.is_alive():
        progress = killed / "progress.json"
        if progress.exists() and json.loads(progress.read_text())["experiences_done"] >= wanted:
            break
        time.sleep(0.02)
    time.sleep(random.Random("later".join(strategies)).uniform(0, 0.5))
    process.kill()
    process.join()
    finish("resume", str(killed))
    assert numbers(killed) == numbers(whole)


def learn(benchmark: Benchmark, out: Path, *strategies: object) -> mmcl.RunResult:
    return mmcl.run(benchmark=benchmark, strategies=list(strategies), training={"lr": 1e-3}, out=out, quiet=True)


def test_extending_a_run_gives_the_row_of_the_longer_run(tmp_path: Path) -> None:
    strategies = ("ewc:samples=8", "replay:size=6", "zscl", "lwf")
    longer = learn(toy_benchmark(TIL, experiences=4, per_class=16), tmp_path / "longer", *strategies)
    shorter = learn(toy_benchmark(TIL, experiences=3, per_class=16), tmp_path / "shorter", *strategies)
    assert shorter.results["matrix"] == [row[:3] for row in longer.results["matrix"][:4]]
    extended = mmcl.extend(shorter.folder, benchmark=toy_benchmark(TIL, experiences=4, per_class=16), quiet=True)
    assert extended.results["matrix"][4] == longer.results["matrix"][4]
    assert extended.results["matrix"][0] == [*longer.results["matrix"][0][:3], None]


def test_a_folder_of_images_extends_a_run(tmp_path: Path) -> None:
    run = learn(toy_benchmark(TIL, experiences=2), tmp_path / "run", "replay:size=6")
    for label, shade in (("dark_square", 30), ("light_square", 220)):
        (tmp_path / "shades" / label).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (40, 40), (shade + number,) * 3).save(tmp_path / "shades" / label / f"{number}.png")
    extended = mmcl.extend(run.folder, tmp_path / "shades", benchmark=toy_benchmark(TIL, experiences=2), quiet=True)
    assert extended.results["columns"] == ["toy0", "toy1", "shades"]
    assert extended.results["matrix"][-1][-1] is not None
    best = mmcl.predict(run.folder, [tmp_path / "shades" / "dark_square" / "0.png"], experience="shades")
    assert {name for name, _ in best[0].classes} == {"dark square", "light square"}


def test_a_run_that_has_not_ended_cannot_be_extended(tmp_path: Path) -> None:
    run = learn(toy_benchmark(TIL, experiences=2), tmp_path / "run")
    with pytest.raises(ConfigError, match="ends after 2 experiences"):
        mmcl.extend(run.folder, benchmark=toy_benchmark(TIL, experiences=2), quiet=True)
    shutil.rmtree(run.folder / "checkpoint-2")
    with pytest.raises(CheckpointError, match="has not ended"):
        mmcl.extend(run.folder, benchmark=toy_benchmark(TIL, experiences=3), quiet=True)


def test_an_exported_model_gives_the_same_logits_in_plain_open_clip(tmp_path: Path) -> None:
    run = learn(toy_benchmark(TIL), tmp_path / "run", "zscl")
    folder = mmcl.export(run.folder, "open_clip")
    clip, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    clip.eval()
    tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    model = trained_model(RunFolder.open(run.folder))
    images, texts = torch.randn(4, 3, 32, 32), ["greek small letter alpha", "digit one"]
    with torch.no_grad():
        ours = (
            model.backbone.logit_scale
            * torch.nn.functional.normalize(encoded(model.backbone, "image", images).pooled, dim=-1)
            @ torch.nn.functional.normalize(
                encoded(model.backbone, "text", model.backbone.tokenize(texts)).pooled, dim=-1
            ).T
        )
        image, text, scale = clip(images, tokenize(texts))
        theirs = scale * image @ text.T
    untrained = GlyphCLIP().build()
    assert not torch.equal(encoded(untrained, "image", images).pooled, encoded(model.backbone, "image", images).pooled)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_strategy_objects_and_names_give_the_same_run(tmp_path: Path) -> None:
    named = learn(toy_benchmark(TIL), tmp_path / "named", "zscl:temperature=1.5")
    built = learn(toy_benchmark(TIL), tmp_path / "built", ZSCL(temperature=1.5))
    assert named.results["matrix"] == built.results["matrix"]
    assert named.results["strategies"] == built.results["strategies"] == [{"name": "zscl", "temperature": 1.5}]


def test_results_hold_what_a_reader_needs(tmp_path: Path) -> None:
    run = learn(toy_benchmark(TIL), tmp_path / "run", "replay:size=4")
    wanted = (
        "benchmark edition scenario backbone strategies seed metric matrix columns summary parameters seconds versions"
    )
    assert set(wanted.split()) <= set(run.results)
    assert run.matrix.shape == (4, 3)
    assert (run.folder / "matrix.png").stat().st_size > 1000
    assert "not the official benchmark's numbers" in (run.folder / "report.md").read_text()


def test_every_matrix_cell_and_loss_term_is_logged(tmp_path: Path) -> None:
    mmcl.run(
        benchmark=toy_benchmark(TIL, experiences=2),
        strategies=["ewc:samples=4", "zscl"],
        out=tmp_path / "run",
        log=["tensorboard"],
        quiet=True,
    )
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"loss/task", "loss/zscl/image", "loss/zscl/text", "loss/zscl/consolidation", "loss/ewc/penalty"} <= tags
    assert {"matrix/toy0", "matrix/toy1"} <= tags
    assert len(events.Scalars("loss/task")) == 8
