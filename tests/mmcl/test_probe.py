"""The probe: which pairs it takes, what it sees of the model, and that a run with it is the run without it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from mmcl_strategies.distillation.wise_ft import WiSEFT
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

import mmcl
from mmcl.cli import app
from mmcl.config import PluginConfig, RunConfig
from mmcl.data.asked import AnswerKind
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Batch, Inputs
from mmcl.errors import CheckpointError, ConfigError
from mmcl.evaluation.metric import Metric
from mmcl.evaluation.spatial_disorder import Pairs, disorder
from mmcl.learning.compose import Surroundings
from mmcl.models.backbone import Backbone, BackbonePlugin
from mmcl.models.heads import TextHead
from mmcl.models.output import Output
from mmcl.models.sites import AddOn, Here
from mmcl.probe import Probe, draw
from mmcl.probe_needs import check_probe
from mmcl.run_folder import RunFolder
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, MDTIL, TIL, Scenario
from mmcl.testing.encoded import encoded
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_pairs
from mmcl.use import trained_model


class MatchedPairs(Metric):
    """Share of the images of a batch that are closest to their own text."""

    name = "matched pairs"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.hits: list[float] = []

    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        nearest = (output.features[IMAGE] @ output.features[TEXT].T).argmax(1)
        self.hits += (nearest == torch.arange(len(nearest))).double().tolist()

    def compute(self) -> float:
        return 100 * float(np.mean(self.hits))


def pairs_stream() -> Benchmark:
    benchmark = toy_pairs(pairs=8)
    benchmark.metric = MatchedPairs()
    return benchmark


def learn(out: Path, *strategies: str, benchmark: Benchmark | None = None, probe: int = 10) -> mmcl.RunResult:
    return mmcl.run(
        benchmark=benchmark or toy_benchmark(TIL, experiences=3),
        strategies=strategies,
        training={"lr": 1e-3},
        out=out,
        probe=probe,
        quiet=True,
    )


def kept(folder: Path) -> dict[str, Any]:
    """All that the probe has written."""
    features = {file.name: load_file(file) for file in (folder / "probe").glob("*.safetensors")}
    written = {name: json.loads((folder / name).read_text()) for name in ("disorder.json", "probe/pairs.json")}
    return {"features": features, **written}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    torch.testing.assert_close(one.pop("features"), other.pop("features"), rtol=0, atol=0)
    assert one == other


@pytest.mark.parametrize(
    "strategies", [("zscl", "replay:size=6"), ("hat",), ("wise_ft:when=evaluation",)], ids="+".join
)
def test_a_run_with_a_probe_is_the_run_without_it(strategies: tuple[str, ...], tmp_path: Path) -> None:
    watched = learn(tmp_path / "watched", *strategies)
    alone = learn(tmp_path / "alone", *strategies, probe=0)
    assert watched.results["matrix"] == alone.results["matrix"]
    assert watched.results["summary"] == alone.results["summary"]
    found, expected = (load_file(run.folder / "checkpoint-3" / "model.safetensors") for run in (watched, alone))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not (alone.folder / "probe").exists()
    assert not (alone.folder / "disorder.json").exists()


def test_the_last_features_are_those_of_the_trained_model(tmp_path: Path) -> None:
    benchmark = toy_benchmark(TIL, experiences=2)
    folder = learn(tmp_path / "run", benchmark=benchmark).folder
    features = load_file(folder / "probe" / "features-2.safetensors")
    model = trained_model(RunFolder.open(folder))
    assert isinstance(model.head, TextHead)
    images, texts = [], []
    with torch.no_grad():
        for experience in benchmark.test:
            positions = json.loads((folder / "probe" / "pairs.json").read_text())[experience.name]
            samples = [experience.samples[position] for position in positions]
            space = experience.label_space.for_training
            columns = space.columns(torch.tensor([int(sample.target) for sample in samples]))
            images.append(encoded(model.backbone, IMAGE, torch.stack([s.inputs[IMAGE] for s in samples])).pooled)
            texts.append(model.head.text_features(space)[columns])
    torch.testing.assert_close(features["image"], torch.cat(images), rtol=0, atol=1e-5)
    unit = torch.nn.functional.normalize(features["text"], dim=1)
    torch.testing.assert_close(unit, torch.cat(texts), rtol=0, atol=1e-5)
    assert features["image"].dtype == features["text"].dtype == torch.float32


def test_disorder_is_that_of_the_features_in_the_folder(tmp_path: Path) -> None:
    folder = learn(tmp_path / "run").folder
    stored = kept(folder)
    rows = stored["disorder.json"]["rows"]
    assert [row["experience"] for row in rows] == ["toy0", "toy1", "toy2"]
    checkpoints = [stored["features"][f"features-{done}.safetensors"] for done in range(4)]
    texts = checkpoints[0]["texts"].numpy()
    for done, row in enumerate(rows, start=1):
        before, start, now = (
            Pairs(checkpoints[index]["image"].numpy(), checkpoints[index]["text"].numpy())
            for index in (done - 1, 0, done)
        )
        assert row["consecutive"] == json.loads(json.dumps(disorder(before, now, texts).to_dict()))
        assert row["cumulative"] == json.loads(json.dumps(disorder(start, now, texts).to_dict()))
        assert row["consecutive"]["image"]["rotation"] > 0.1


def test_a_report_shows_the_curves(tmp_path: Path) -> None:
    folder = learn(tmp_path / "run").folder
    report = (folder / "report.md").read_text()
    assert "## Spatial disorder" in report
    assert "](disorder.png)" in report
    assert (folder / "disorder.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("moment", ["before the checkpoint", "after the checkpoint"])
def test_a_resumed_run_keeps_what_an_uninterrupted_one_keeps(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learn(tmp_path / "whole", "ewc:samples=8").folder
    save = RunFolder.save

    def killed(self: RunFolder, progress: Any, *content: Any) -> None:
        if progress["experiences_done"] == 2 and moment == "before the checkpoint":
            raise KeyboardInterrupt
        save(self, progress, *content)
        if progress["experiences_done"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "killed", "ewc:samples=8")
    monkeypatch.undo()
    resumed = mmcl.resume(tmp_path / "killed", benchmark=toy_benchmark(TIL, experiences=3), quiet=True)
    assert_same(kept(resumed.folder), kept(whole))


def test_a_longer_stream_keeps_the_pairs_and_adds_to_the_curves(tmp_path: Path) -> None:
    folder = learn(tmp_path / "run").folder
    before = kept(folder)
    mmcl.extend(folder, benchmark=toy_benchmark(TIL, experiences=4), quiet=True)
    after = kept(folder)
    assert after["probe/pairs.json"] == before["probe/pairs.json"]
    assert after["disorder.json"]["rows"][:3] == before["disorder.json"]["rows"]
    assert after["disorder.json"]["rows"][3]["experience"] == "toy3"
    assert after["features"].keys() - before["features"].keys() == {"features-4.safetensors"}


def test_damaged_features_are_named(tmp_path: Path) -> None:
    folder = learn(tmp_path / "run").folder
    (folder / "probe" / "features-3.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"features-3\.safetensors.*cannot be read"):
        mmcl.extend(folder, benchmark=toy_benchmark(TIL, experiences=4), quiet=True)


def test_pairs_of_images_and_texts_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = learn(tmp_path / "run", "modx", benchmark=pairs_stream(), probe=16).folder
    first, last = (load_file(folder / "probe" / f"features-{done}.safetensors") for done in (0, 2))
    assert len(first["texts"].unique()) == 16, "every pair has a text of its own"
    model = trained_model(RunFolder.open(folder))
    with torch.no_grad():
        tokens = torch.cat([experience.samples.values[TEXT] for experience in pairs_stream().test])
        torch.testing.assert_close(last["text"], encoded(model.backbone, TEXT, tokens).pooled, rtol=0, atol=1e-5)
    assert not torch.equal(first["text"], last["text"])


def test_the_embedded_edition_has_a_probe(embedded_mtil: Path, tmp_path: Path) -> None:
    command = ["run", "mtil", "--embedded", "--probe", "30", "--out", str(tmp_path / "run")]
    settings = ["iterations=2", "batch_size=8", "benchmark.experiences=2", "check_data=false"]
    done = CliRunner().invoke(app, command + [part for setting in settings for part in ("--set", setting)])
    assert done.exit_code == 0, done.output
    found = kept(tmp_path / "run")
    assert [len(positions) for positions in found["probe/pairs.json"].values()] == [15, 15]
    assert found["features"]["features-2.safetensors"]["image"].shape[0] == 30
    assert found["disorder.json"]["rows"][1]["cumulative"]["text"]["rotation"] > 0
    assert RunFolder.open(tmp_path / "run").config.probe == 30


class Watching(AddOn):
    """Notes the task ids that it is shown; nothing is known of class prompts."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[list[int] | None] = []

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        self.shown.append(None if inputs.task_ids is None else inputs.task_ids.tolist())
        return here.value


@pytest.mark.parametrize(("scenario", "shown"), [(TIL, [[0] * 3, [1] * 2]), (CIL, [None, None])], ids=["TIL", "CIL"])
def test_the_model_is_shown_the_task_where_the_scenario_reveals_it(
    scenario: Scenario, shown: list[Any], tmp_path: Path
) -> None:
    benchmark = toy_benchmark(scenario, experiences=2)
    learner = toy_learner(benchmark)
    addon = Watching()
    learner.model.attach("watching", learner.model.backbone.sites_of(IMAGE, "block")[0], addon)
    Probe(5, benchmark, RunFolder(tmp_path)).features(learner)
    assert addon.shown == shown


def test_weights_that_a_strategy_puts_in_place_for_evaluation_are_seen(tmp_path: Path) -> None:
    benchmark = toy_benchmark(TIL, experiences=1)
    learner = toy_learner(benchmark, {"wise_ft": WiSEFT(when="evaluation", alpha=0.0)})
    probe = Probe(6, benchmark, RunFolder(tmp_path))
    before = probe.features(learner)
    learner.train(benchmark.train[0])
    trained = {name: weight.detach().clone() for name, weight in learner.model.named_parameters()}
    torch.testing.assert_close(probe.features(learner), before, rtol=0, atol=0)
    for name, weight in learner.model.named_parameters():
        assert torch.equal(weight, trained[name])


def test_encoding_is_in_evaluation_mode_and_leaves_no_trace(tmp_path: Path) -> None:
    benchmark = toy_benchmark(TIL, experiences=2)
    learner = toy_learner(benchmark)
    learner.train(benchmark.train[0])
    learner.model.train()
    modes: list[bool] = []
    for modality in (IMAGE, TEXT):
        block = learner.model.backbone.sites_of(modality, "block")[0].exit
        block.register_forward_pre_hook(lambda module, _: modes.append(module.training or torch.is_grad_enabled()))
    parameter = next(p for p in learner.model.parameters() if p.requires_grad)
    parameter.grad = torch.ones_like(parameter)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    Probe(5, benchmark, RunFolder(tmp_path)).features(learner)
    assert modes == [False] * 4, "images and texts of two test sets"
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(parameter.grad, torch.ones_like(parameter))
    assert all(module.training for module in learner.model.modules())
    assert not list(tmp_path.iterdir()), "only 'record' writes"


def test_pairs_come_evenly_from_the_test_sets_and_never_twice() -> None:
    benchmark = toy_benchmark(TIL, experiences=3, per_class=8)
    drawn = draw(benchmark, 32)
    assert {name: len(positions) for name, positions in drawn.items()} == {"toy0": 11, "toy1": 11, "toy2": 10}
    for positions in drawn.values():
        assert positions == sorted(set(positions))
        assert set(positions) <= set(range(16))
    # the first half of a test set is of one class
    assert all(3 <= sum(position < 8 for position in positions) <= 8 for positions in drawn.values())
    assert draw(benchmark, 48) == {name: list(range(16)) for name in drawn}


def test_small_test_sets_leave_their_part_to_the_others() -> None:
    benchmark = toy_benchmark(TIL, experiences=2)
    benchmark.test[0].samples = toy_benchmark(TIL, experiences=1, per_class=2).test[0].samples
    assert [len(positions) for positions in draw(benchmark, 18).values()] == [4, 14]


def test_every_seed_and_strategy_has_the_same_pairs(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"benchmark": toy_benchmark(TIL, experiences=2), "probe": 7, "quiet": True}
    one = mmcl.run(out=tmp_path / "one", seed=0, **settings)
    other = mmcl.run(out=tmp_path / "other", seed=1, strategies=["lwf"], **settings)
    assert kept(one.folder)["probe/pairs.json"] == kept(other.folder)["probe/pairs.json"]
    first = [load_file(run.folder / "probe" / "features-0.safetensors") for run in (one, other)]
    torch.testing.assert_close(first[0], first[1], rtol=0, atol=0)


def test_only_samples_with_an_image_are_taken() -> None:
    benchmark = toy_benchmark(MDTIL, experiences=3)
    drawn = draw(benchmark, 20)
    assert drawn.keys() == {"toy0", "toy2"}, "the second experience has texts alone"
    both = benchmark.test[2].samples
    assert all(IMAGE in both[position].inputs for position in drawn["toy2"])


def test_more_pairs_than_there_are_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"probe: 49 pairs.*up to 48.*'toy'.*probe = 48 or less"):
        learn(tmp_path / "run", probe=49)
    assert not (tmp_path / "run").exists()


@dataclass(kw_only=True)
class ImagesAlone(BackbonePlugin):
    """Encodes no text."""

    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE})

    def build(self) -> Backbone:
        raise AssertionError("nothing may be loaded")


def test_a_model_without_a_text_encoder_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmcl.build.load", lambda *_: ImagesAlone)
    config = RunConfig(benchmark=PluginConfig("in-memory:toy"), backbone=PluginConfig("alone"), probe=5)
    with pytest.raises(ConfigError, match=r"probe = 5: backbone 'alone' has image.*image and text.*glyph-clip"):
        mmcl.run(config, benchmark=toy_benchmark(TIL))


@pytest.mark.parametrize(
    ("around", "sentence"),
    [
        ({"answers": AnswerKind.CLASS, "modalities": frozenset({TEXT})}, "has text.*one that has image"),
        ({"answers": AnswerKind.PARTNER, "modalities": frozenset({IMAGE})}, "has image.*one that has image and text"),
    ],
)
def test_streams_without_images_or_texts_are_refused(around: dict[str, Any], sentence: str) -> None:
    config = RunConfig(benchmark=PluginConfig("other"), probe=5)
    surroundings = Surroundings(towers=frozenset({frozenset({IMAGE}), frozenset({TEXT})}), **around)
    with pytest.raises(ConfigError, match=f"benchmark 'other' {sentence}"):
        check_probe(config, surroundings)
    check_probe(RunConfig(benchmark=PluginConfig("other")), surroundings)


@pytest.mark.parametrize(("value", "sentence"), [(-1, "probe.*-1.*0 or more"), (2.5, "probe.*2.5"), ("x", "probe")])
def test_a_probe_is_a_number_of_pairs(value: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        RunConfig(benchmark=PluginConfig("mtil"), probe=value)
