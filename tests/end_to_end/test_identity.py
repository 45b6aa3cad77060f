"""A run knows what it is: what it was told stays with it, and it goes on with nothing else than it began with."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.regularization.ewc import EWC
from PIL import Image

import mmcl
from mmcl.backbones.openclip import GLYPH_CLIP, GlyphCLIP, OpenCLIPBackbone
from mmcl.build import planned
from mmcl.config import PluginConfig, RunConfig
from mmcl.errors import CheckpointError, ConfigError, DataError
from mmcl.experiment import Experiment
from mmcl.identity import SCHEMA, Identity
from mmcl.remarks import Remark
from mmcl.run_folder import RunFolder
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark
from mmcl.use import trained_model


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
    (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run")
    config, plugins = RunConfig(PluginConfig("in-memory:toy"), training={"iterations": 10}), [Stop(1)]
    experiment = Experiment(planned(config, toy_benchmark(TIL, experiences=2)), folder, plugins=plugins)
    experiment.begin()
    with pytest.raises(UserWarning, match="few samples"):
        experiment.remarks.add("few samples")
    with pytest.raises(KeyboardInterrupt):
        experiment.run()
    again = Experiment(planned(config, toy_benchmark(TIL, experiences=2)), folder, plugins=[Stop(-1)])
    again.remarks.add("few samples")
    again.restore()
    assert again.run().results["remarks"] == ["few samples"]
    assert "## Remarks\n\n- few samples\n" in (tmp_path / "run" / "report.md").read_text()


def interrupted(out: Path, stream: Benchmark, at: int = 1, **training: object) -> Path:
    """A run that was stopped before it learned an experience."""
    with pytest.raises(KeyboardInterrupt):
        mmcl.run(
            benchmark=stream, training=training, strategies=["ewc:samples=4"], out=out, quiet=True, plugins=[Stop(at)]
        )
    return out


def resumed(folder: Path, stream: Benchmark, **options: object) -> mmcl.RunResult:
    return mmcl.resume(folder, benchmark=stream, quiet=True, plugins=[Stop(-1)], **options)  # type: ignore[arg-type]


def picture(shade: int, size: int = 32) -> Image.Image:
    return Image.new("RGB", (size, size), (shade % 256, 3 * shade % 256, 7 * shade % 256))


NAMES = ("ant", "bee", "cat", "dog")


def own(rows: int = 24, order: Sequence[str] = NAMES, shift: int = 0, moved: int = 0) -> Benchmark:
    """Four classes in two experiences; ``shift`` gives rows other classes, ``moved`` other pictures."""
    pairs = [(picture(i + moved), NAMES[(i + shift) % 4]) for i in range(rows)]
    return mmcl.streams.by_class(pairs, experiences=2, order=order, training={"iterations": 1, "batch_size": 4})


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return interrupted(tmp_path_factory.mktemp("stopped") / "run", own(), lr=1e-3)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"order": ("dog", "cat", "bee", "ant")}, r"'classes 1-2' lacks 'ant', 'bee' and has 'dog', 'cat' in addition"),
        ({"order": ("bee", "ant", "cat", "dog")}, r"has class 0 'bee' .* instead of class 0 'ant'"),
        ({"shift": 1}, r"samples of 'classes 1-2' have other contents, labels or another order"),
        ({"moved": 100}, r"samples of 'classes 1-2' have other contents"),
        ({"rows": 12}, r"'classes 1-2' has \d+ train samples instead of \d+"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_another_stream_of_the_same_shape_is_refused_with_what_differs(
    other: dict[str, Any], sentence: str, stopped: Path
) -> None:
    before = (stopped / "progress.json").read_bytes()
    for _ in range(2):  # a refusal changes nothing
        with pytest.raises(CheckpointError, match=sentence):
            resumed(stopped, own(**other))
    assert (stopped / "progress.json").read_bytes() == before


def test_a_stream_that_has_grown_or_lost_an_experience_is_refused(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "run", toy_benchmark(TIL, experiences=3))
    for count in (2, 4):
        with pytest.raises(CheckpointError, match=f"the stream has {count} experiences instead of 3"):
            resumed(folder, toy_benchmark(TIL, experiences=count))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seed = 0", "seed = 5", "seed is 5 instead of 0"),
        ("lr = 0.001", "lr = 0.1", r"training\.lr is 0\.1 instead of 0\.001"),
        ("samples = 4", "samples = 5", r"ewc\.samples is 5 instead of 4"),
        ("samples = 4", "samples = 4, strength = 7.0", r"ewc\.strength is 7\.0 instead of"),
        ('{ name = "ewc", samples = 4 },', "", r"strategies is \[\] instead of \['ewc'\]"),
        ("glyph-clip", "openclip", r"backbone is 'openclip' instead of 'glyph-clip'"),
    ],
)
def test_a_configuration_that_was_edited_is_refused_with_the_old_and_the_new_value(
    old: str, new: str, sentence: str, stopped: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "run")
    text = (folder / "config.toml").read_text()
    assert old in text
    if new == "openclip":
        new = f'openclip"\nweights = "local-dir/{GLYPH_CLIP}'
    (folder / "config.toml").write_text(text.replace(old, new))
    with pytest.raises(CheckpointError, match=sentence):
        resumed(folder, own())


def test_other_weights_of_the_backbone_are_refused_in_resuming_and_predicting(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(self: GlyphCLIP) -> OpenCLIPBackbone:
        backbone = original(self)
        with torch.no_grad():
            next(backbone.parameters()).add_(1)
        return backbone

    original = GlyphCLIP.build
    monkeypatch.setattr(GlyphCLIP, "build", changed)
    for go_on in (lambda: resumed(stopped, own()), lambda: trained_model(RunFolder.open(stopped))):
        with pytest.raises(CheckpointError, match=r"weights of the backbone is '.*' instead of '.*'"):
            go_on()


def test_other_surroundings_are_a_remark_that_stays_in_the_results(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "run")
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace("lr = 0.001", "lr = 0.001\neval_batch_size = 7"))
    stored = json.loads((folder / "identity.json").read_text())
    stored["surroundings"]["version of torch"] = "0.1"
    (folder / "identity.json").write_text(json.dumps(stored))
    with pytest.warns(Remark, match=r"eval_batch_size is 7 instead of 128.*version of torch is '.*' instead of '0\.1'"):
        results = resumed(folder, own()).results
    assert sum("eval_batch_size is 7" in sentence for sentence in results["remarks"]) == 1
    # the run is now one of these surroundings
    assert resumed(folder, own()).results["remarks"] == results["remarks"]


def test_the_folder_says_every_option_class_and_version(stopped: Path) -> None:
    stored = json.loads((stopped / "identity.json").read_text())
    assert stored["settings"]["ewc.strength"] == EWC().strength
    assert stored["experiences"][1]["classes"][0] == {"id": 2, "name": "cat", "templates": ["a photo of a {}."]}
    assert stored["experiences"][0]["train"]["samples"] + stored["experiences"][0]["test"]["samples"] == 12
    assert stored["experiences"][0]["training"]["iterations"] == 1
    assert stored["surroundings"]["origin of ewc"].startswith("mmcl")
    assert stored["surroundings"]["threads"] == torch.get_num_threads()


def test_the_run_of_an_earlier_version_is_refused_and_a_begun_one_without_a_row_is_not(
    stopped: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(stopped, tmp_path / "run")
    (folder / "identity.json").unlink()
    with pytest.raises(CheckpointError, match=r"no identity\.json.*another version of MMCL"):
        resumed(folder, own())
    stored = json.loads((stopped / "identity.json").read_text())
    (folder / "identity.json").write_text(json.dumps(stored | {"schema": 0}))
    with pytest.raises(CheckpointError, match=r"schema 0.*schema 2"):
        resumed(folder, own())
    # killed between the two files
    for name in ("identity.json", "progress.json", "results.json"):
        (folder / name).unlink()
    for name in ("checkpoint-0", "checkpoint-1"):
        shutil.rmtree(folder / name)
    assert len(resumed(folder, own()).results["rows"]) == 3


def test_reference_data_of_a_strategy_belong_to_the_run(tmp_path: Path) -> None:
    outside, moved, run = tmp_path / "outside", tmp_path / "moved", tmp_path / "run"
    (outside / "images").mkdir(parents=True)
    (outside / "captions.txt").write_text("an ant\na bee\n", "utf-8")
    for shade in (1, 2):
        picture(shade).save(outside / "images" / f"{shade}.png")
    options = {"benchmark": own(), "strategies": [f"zscl:reference={outside}"], "quiet": True}
    with pytest.raises(KeyboardInterrupt):
        mmcl.run(**options, out=run, plugins=[Stop(1)])
    facts = json.loads((run / "identity.json").read_text())
    assert facts["references"]["zscl"]["images"] == 2
    shutil.copytree(outside, moved)
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace(str(outside), str(moved)))
    picture(3).save(moved / "images" / "2.png")
    with pytest.raises(CheckpointError, match=r"the reference data of zscl are .* instead of"):
        resumed(run, own())
    shutil.copy(outside / "images" / "2.png", moved / "images" / "2.png")
    again = resumed(run, own())
    assert any("zscl.reference" in sentence for sentence in again.results["remarks"])
    (outside / "images" / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1\.png"):  # before anything is trained
        mmcl.run(**options, out=tmp_path / "other", plugins=[Stop(0)])


def test_a_run_made_in_python_says_so_when_nobody_hands_its_stream_over(stopped: Path) -> None:
    with pytest.raises(ConfigError, match=r"made in Python.*mmcl\.resume or mmcl\.extend\(\.\.\., benchmark=stream\)"):
        mmcl.resume(stopped, quiet=True, plugins=[Stop(-1)])


def test_a_configuration_leaves_no_room_for_settings_beside_it() -> None:
    with pytest.raises(ConfigError, match="a configuration and training, seed beside it"):
        mmcl.run(RunConfig(PluginConfig("mtil")), training={"lr": 1.0}, seed=0)


def test_a_warm_up_of_the_benchmark_that_the_users_training_never_ends_is_a_remark(tmp_path: Path) -> None:
    stream = toy_benchmark(TIL, experiences=1)
    stream.training["warmup"] = 3
    run = mmcl.run(benchmark=stream, training={"iterations": 2}, out=tmp_path / "run", quiet=True)
    assert any("shorter than its warm-up (2 of 3 steps)" in sentence for sentence in run.results["remarks"])


def test_a_setting_of_classes_is_refused_where_there_are_none(tmp_path: Path, cache: Path) -> None:
    pairs = mmcl.benchmark("p9d", embedded=True, experiences=1)
    with pytest.raises(ConfigError, match=r"training\.label_smoothing: it has no effect.*contrastive"):
        mmcl.run(benchmark=pairs, training={"label_smoothing": 0.1}, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@given(data=st.data())
def test_an_identity_that_has_lost_its_form_is_refused_with_the_place(data: st.DataObject) -> None:
    side = {"samples": 4, "digest": "d"}
    facts = {"name": "a", "domain": "", "modalities": ["image"], "training": {}, "train": side, "test": dict(side)}
    classes = [{"id": 0, "name": "alpha", "templates": ["a {}"]}]
    whole = {
        "schema": SCHEMA,
        "settings": {},
        "experiences": [{**facts, "classes": classes}],
        "references": {},
        "surroundings": {"extensions": []},
    }
    assert Identity.from_dict(json.loads(json.dumps(whole)), "run").experiences == whole["experiences"]
    stored = json.loads(json.dumps(whole))
    place, path = stored, []
    for _ in range(data.draw(st.integers(1, 5))):
        if not isinstance(place, (dict, list)) or not place:
            break
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        path.append((place, key))
        place = place[key]
    holder, key = path[-1]
    if key == "schema":
        return
    if isinstance(holder, dict) and data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = 0.5
    with pytest.raises(CheckpointError, match="cannot be read"):
        Identity.from_dict(stored, "run")
