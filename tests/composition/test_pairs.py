"""Every strategy alone and every pair, on every scenario: it trains, or it is refused with a reason. Nothing else.

Refusals follow from declarations and are looked at for all pairs. What trains does so here as far as the number of
trials grows with that of strategies; ``python docs/compatibility.py`` trains all pairs.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcl_benchmarks.mtil.benchmark import MTIL
from torch import Tensor, nn

import mmcl
from mmcl.build import strategy
from mmcl.data.modality import IMAGE, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError
from mmcl.models.backbone import Backbone, BackbonePlugin, Features, Tower
from mmcl.registry import BACKBONES
from mmcl.registry import load as registered
from mmcl.streams.scenario import GDIL, SCENARIOS, Scenario
from mmcl.testing import compatibility
from mmcl.testing.compatibility import TRAINS, Compatibility, Trial, covering, declared, meetings, traits, try_out
from mmcl.testing.toy import toy_benchmark

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
LATE = {
    Trial(tuple(strategies), scenario, backbone): reason
    for strategies, scenario, backbone, reason in json.loads(PAGE.with_suffix(".json").read_text("utf-8"))
}
GRID = replace(Compatibility.of("mmcl"), late=LATE)
TRIALS = GRID.selection()
REFUSED = {outcome: trial for trial in reversed(GRID.everything()) if (outcome := declared(*trial)) != TRAINS}


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


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_what_the_page_says_that_it_trains_does(trial: Trial) -> None:
    assert trial.run() == TRAINS


@pytest.mark.parametrize("reason", sorted(set(LATE.values())))
def test_what_only_a_trial_shows_is_refused_for_the_reason_on_the_page(reason: str) -> None:
    first = next(trial for trial in LATE if LATE[trial] == reason)
    assert declared(*first) == TRAINS
    assert first.run() == reason


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_declared_is_refused_with_a_reason_when_it_is_tried(reason: str) -> None:
    assert REFUSED[reason].run() == reason
    assert len(reason) > 20


def test_every_strategy_and_every_meeting_of_traits_that_trains_at_all_is_trained() -> None:
    trains = [trial for trial in GRID.everything() if GRID.outcome(trial) == TRAINS]
    assert {(t.strategies, t.scenario) for t in TRIALS if len(t.strategies) == 1} == {
        (t.strategies, t.scenario) for t in trains if len(t.strategies) == 1
    }
    assert _met(TRIALS) == _met(trains)
    assert all(len(t.strategies) == 2 and len(meetings(t.strategies)) > 0 for t in TRIALS if len(t.strategies) > 1)


def _met(trials: Iterable[Trial]) -> set[tuple[str, str, frozenset[str]]]:
    return {(t.scenario, t.backbone, meeting) for t in trials for meeting in meetings(t.strategies)}


def test_strategies_that_are_made_like_others_add_no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    one, twice = (_with_copies(GRID, count, monkeypatch).selection() for count in (1, 2))
    alone = [trial for trial in one if len(trial.strategies) == 1]
    assert len(twice) - len(one) <= len(alone)


def _with_copies(grid: Compatibility, count: int, monkeypatch: pytest.MonkeyPatch) -> Compatibility:
    """The same strategies so many times, under other names."""
    monkeypatch.setattr(compatibility, "strategy", lambda name: strategy(name.partition("#")[0]))
    return replace(grid, strategies=[f"{name}#{copy}" for copy in range(count) for name in grid.strategies])


@given(st.lists(st.frozensets(st.integers(0, 8)), max_size=6))
def test_a_covering_holds_all_there_is_and_nothing_in_vain(sets: list[frozenset[int]]) -> None:
    found = dict(enumerate(sets))
    chosen = covering(found)
    everything = frozenset().union(*sets)
    assert frozenset().union(*(found[key] for key in chosen)) == everything
    assert len(chosen) <= len(everything)
    assert covering({(copy, key): value for copy in range(2) for key, value in found.items()}) == [
        (0, key) for key in chosen
    ]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", GRID.strategies)
def test_a_strategy_on_a_backbone_without_text_trains_or_is_refused_with_a_reason(name: str, scenario: str) -> None:
    outcome = try_out((name,), scenario, PixelsPlugin())
    assert outcome == TRAINS or any(part in outcome for part in ("needs", "modality 'text'", "tower 'image' shows no"))


def test_a_stream_with_a_modality_that_the_backbone_cannot_encode_is_refused_by_its_name() -> None:
    assert "modality 'text'" in try_out(("finetune",), "MDTIL", PixelsPlugin())


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_refused_is_refused_before_anything_is_loaded(
    reason: str, nothing_is_loaded: None, tmp_path: Path
) -> None:
    strategies, scenario, host = REFUSED[reason]
    out = tmp_path / "run"
    with pytest.raises(CompositionError):
        mmcl.run(
            benchmark=toy_benchmark(SCENARIOS[scenario]), backbone=host, strategies=strategies, out=out, quiet=True
        )
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


def test_the_page_says_what_happens_and_was_tried_with_strategies_as_they_are() -> None:
    """If it does not: ``python docs/compatibility.py`` writes it anew."""
    assert PAGE.read_text("utf-8") == GRID.markdown()


def test_a_page_is_due_when_a_hook_is_overridden_even_if_no_outcome_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = GRID.markdown()
    monkeypatch.setattr(compatibility, "traits", lambda name: traits(name) | {"after_forward"})
    after = GRID.markdown()
    assert [line for line in after.splitlines() if line not in before] == [after.splitlines()[-1]]
