"""Backbones side by side are one backbone: a CLIP and towers for sensors learn one stream."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

import mmcl
from mmcl.backbones.composite import Composite, CompositeBackbone
from mmcl.errors import CompositionError, ConfigError, MMCLError
from mmcl.testing.encoded import encoded

COMPOSITE = "mmcl.backbones.composite:Composite"
WINDOWS = f"{__package__ or 'tests.mmcl.backbones'}.windows:SensorWindows"


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The towers of these tests can be imported by their place in the repository."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))


@pytest.fixture(scope="module")
def composite() -> CompositeBackbone:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[3]))
        return Composite(towers=("glyph-clip", WINDOWS)).build()


def windows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"acceleration": np.full((8, 3), i % 2, float), "gyroscope": np.full((8, 3), i, float), "label": "ab"[i % 2]}
        | {name: of(i) for name, of in more.items()}
        for i in range(count)
    ]


def test_every_modality_goes_to_the_tower_that_encodes_it(composite: CompositeBackbone) -> None:
    clip = mmcl.backbone("glyph-clip").build()
    assert set(composite.specs) == {"image", "text", "acceleration", "gyroscope"}
    assert composite.width == clip.width
    texts = ["a disc", "a ring"]
    tokens = composite.tokenize(texts)
    assert torch.equal(tokens, clip.tokenize(texts))
    assert torch.equal(encoded(composite, "text", tokens).pooled, encoded(clip, "text", tokens).pooled)
    assert composite.logit_scale == clip.logit_scale
    assert composite.vocabulary == clip.vocabulary
    embedded = composite.token_embedding(tokens)
    assert torch.equal(composite.encode_embedded(tokens, embedded), encoded(composite, "text", tokens).pooled)
    assert [site.kind for site in composite.sites("image")] == [site.kind for site in clip.sites("image")]
    assert composite.sites("gyroscope") == ()
    value = torch.ones(2, 8, 3)
    assert encoded(composite, "gyroscope", value).pooled.shape == (2, 128)
    assert not torch.equal(
        encoded(composite, "gyroscope", value).pooled, encoded(composite, "acceleration", value).pooled
    )
    twin = copy.deepcopy(composite)
    assert torch.equal(encoded(twin, "text", tokens).pooled, encoded(composite, "text", tokens).pooled)
    assert {id(p) for p in twin.parameters()}.isdisjoint(id(p) for p in composite.parameters())


def test_pictures_texts_and_windows_are_learned_in_one_stream_and_resumed(tmp_path: Path, cache: Path) -> None:
    pictures = [(Image.new("RGB", (32, 32), (100 * (i % 2), 0, 0)), "ab"[i % 2]) for i in range(10)]
    texts = [(f"{word} {i}", word) for word in ("bad", "good") for i in range(5)]
    stream = mmcl.streams.by_task(
        {"pictures": pictures, "texts": texts, "moves": windows(10)}, training={"iterations": 2, "batch_size": 4}
    )
    backbone = mmcl.backbone(COMPOSITE, towers=["glyph-clip", WINDOWS])
    options: dict[str, Any] = {"benchmark": stream, "strategies": ["ewc:samples=4", "replay:size=4"], "quiet": True}
    result = mmcl.run(backbone=backbone, out=tmp_path / "run", **options)
    assert result.matrix.shape == (4, 3)
    assert np.isfinite(result.matrix).all()
    assert " + " in result.results["model"]["model"]
    config = (tmp_path / "run" / "config.toml").read_text("utf-8")
    assert 'towers = [\n    "glyph-clip",' in config
    assert (mmcl.resume(tmp_path / "run", benchmark=stream, quiet=True).matrix == result.matrix).all()


def test_exemplars_may_be_windows_and_are_there_after_a_restart(tmp_path: Path) -> None:
    rows = [{**row, "label": f"{row['label']} {number % 4 // 2}"} for number, row in enumerate(windows(20))]
    stream = mmcl.streams.by_class(rows, experiences=2, training={"iterations": 2, "batch_size": 4})
    options: dict[str, Any] = {"backbone": WINDOWS, "strategies": ["icarl:size=4"], "quiet": True}
    whole = mmcl.run(benchmark=stream, out=tmp_path / "whole", **options)
    assert np.isfinite(whole.matrix[2]).all()
    mmcl.run(benchmark=stream.first(1), out=tmp_path / "run", **options)
    assert (mmcl.extend(tmp_path / "run", benchmark=stream, quiet=True).matrix[2] == whole.matrix[2]).all()


def test_sensor_windows_with_words_are_learned_by_contrast(tmp_path: Path, cache: Path) -> None:
    rows = [
        {"acceleration": np.full((8, 3), i, float), "text": [f"walks {i}", f"goes {i}"], "day": "ab"[i % 2]}
        for i in range(20)
    ]
    stream = mmcl.streams.of_pairs(rows, column="day", training={"iterations": 2, "batch_size": 4})
    backbone = mmcl.backbone(COMPOSITE, towers=[WINDOWS, "glyph-clip"])
    result = mmcl.run(benchmark=stream, backbone=backbone, out=tmp_path / "run", quiet=True)
    assert np.isfinite(result.matrix).all()
    with pytest.raises(CompositionError, match="pairs of images and texts"):
        mmcl.run(benchmark=stream, backbone=backbone, strategies=["modx"], out=tmp_path / "modx", quiet=True)


def test_every_part_is_exported_in_its_own_format(tmp_path: Path, composite: CompositeBackbone) -> None:
    composite.export(tmp_path)
    assert (tmp_path / "acceleration+gyroscope" / "windows.pt").is_file()
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'image+text'}")
    tokens = composite.tokenize(["a disc"])
    assert torch.allclose(model.encode_text(tokens), encoded(composite, "text", tokens).pooled, atol=1e-6)


@pytest.mark.parametrize(
    ("towers", "sentence"),
    [
        ((), "composite.towers: no tower"),
        (("glyph-clip", "glyph-clip"), "'glyph-clip', 'glyph-clip' both encode image"),
        (("glyph-klip",), "glyph-klip.*Did you mean 'glyph-clip'"),
        (("glyph-clip", f"{WINDOWS}:depth=3"), "unknown key 'depth'"),
    ],
)
def test_towers_that_do_not_fit_are_refused_before_anything_is_built(towers: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(MMCLError, match=sentence):
        Composite(towers=towers)


def test_towers_of_other_widths_are_refused_and_may_be_told_theirs() -> None:
    with pytest.raises(ConfigError, match=r"features of the widths 128 .*, 64 "):
        Composite(towers=("glyph-clip", f"{WINDOWS}:width=64")).build()


def test_a_stream_that_no_tower_encodes_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    stream = mmcl.streams.by_class(windows(10), experiences=1)
    with pytest.raises(CompositionError, match="acceleration"):
        mmcl.run(benchmark=stream, backbone=mmcl.backbone(COMPOSITE), out=tmp_path / "run", quiet=True)
    assert mmcl.backbone(COMPOSITE, towers=["glyph-clip", WINDOWS]).modalities >= stream.modalities
