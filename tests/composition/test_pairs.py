"""Every strategy alone and every pair, on every scenario: it trains, or it is refused with a reason. Nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from mmcl_benchmarks.mtil.benchmark import MTIL
from torch import Tensor, nn

import mmcl
from mmcl.data.modality import IMAGE, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError
from mmcl.models.backbone import Backbone, BackbonePlugin, Features, Tower
from mmcl.registry import BACKBONES
from mmcl.registry import load as registered
from mmcl.streams.scenario import GDIL, SCENARIOS, Scenario
from mmcl.testing.compatibility import TRAINS, Compatibility, attempt, compositions, try_out
from mmcl.testing.toy import toy_benchmark

GRID = Compatibility.of("mmcl")
NAMES = GRID.strategies
PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


class Pixels(Backbone):
    """A linear layer on pixels: a backbone that encodes images and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 32 * 32, 8)
        self.specs = {IMAGE: ModalitySpec((3, 32, 32))}
        self.towers = {IMAGE: Tower(self.layer, frozenset({IMAGE}), 8)}
        self.preprocess_train = self.preprocess_eval = {}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        return Features(self.layer(inputs[IMAGE].flatten(1)))

    def tokenize(self, texts: Any) -> Tensor:
        raise AssertionError("it reads no text")

    @property
    def logit_scale(self) -> Tensor:
        return torch.tensor(1.0)

    def export(self, folder: Path) -> None:
        raise AssertionError("never exported")


@dataclass(kw_only=True)
class PixelsPlugin(BackbonePlugin):
    modalities: ClassVar[frozenset[str]] = frozenset({IMAGE})

    def build(self) -> Pixels:
        return self.miniature()

    def miniature(self) -> Pixels:
        return Pixels()


@pytest.fixture
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: object) -> None:
        raise AssertionError(f"{type(self).__name__} has been loaded")

    for plugin in (MTIL, *(registered(BACKBONES, name) for name in GRID.backbones)):
        monkeypatch.setattr(plugin, "build", load)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("strategies", compositions(NAMES), ids="+".join)
def test_a_composition_trains_or_is_refused_with_a_reason(strategies: tuple[str, ...], scenario: str) -> None:
    outcome = attempt(strategies, scenario, GRID.host(scenario))
    assert outcome == TRAINS or len(outcome) > 20


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_on_a_backbone_without_text_trains_or_is_refused_with_a_reason(name: str, scenario: str) -> None:
    outcome = try_out((name,), scenario, PixelsPlugin())
    assert outcome == TRAINS or "needs" in outcome or "modality 'text'" in outcome


def test_a_stream_with_a_modality_that_the_backbone_cannot_encode_is_refused_by_its_name() -> None:
    assert "modality 'text'" in try_out(("finetune",), "MDTIL", PixelsPlugin())


@pytest.mark.parametrize("strategies", compositions(NAMES), ids="+".join)
def test_what_is_refused_is_refused_before_anything_is_loaded(
    strategies: tuple[str, ...], nothing_is_loaded: None, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for name, scenario in SCENARIOS.items():
        host = GRID.host(name)
        if attempt(strategies, name, host) != TRAINS:
            with pytest.raises(CompositionError):
                mmcl.run(benchmark=toy_benchmark(scenario), backbone=host, strategies=strategies, out=out, quiet=True)
            assert not out.exists()


@pytest.mark.parametrize(
    ("fact", "value", "sentence"),
    [
        ("scenario", GDIL, "scenario 'GDIL': it needs a backbone that writes text"),
        ("modalities", frozenset({"image", "audio"}), "modality 'audio': the stream has it"),
    ],
)
def test_what_a_benchmark_declares_is_checked_before_its_data_are_read(
    fact: str,
    value: Scenario | frozenset[str],
    sentence: str,
    nothing_is_loaded: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(MTIL, fact, value)
    with pytest.raises(CompositionError, match=sentence):
        mmcl.run(benchmark="mtil", backbone="glyph-clip", out=tmp_path / "run", quiet=True)


def test_the_page_says_what_happens() -> None:
    """If it does not: ``python docs/compatibility.py`` writes it anew."""
    assert PAGE.read_text("utf-8") == GRID.markdown()
