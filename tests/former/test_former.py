"""Plugins as they were written for version 0.1 run, or are told in a sentence what to change."""

from pathlib import Path

import pytest

import mmcl
from mmcl.errors import PluginError
from mmcl.models.heads import LinearHead
from mmcl.models.sites import AddOn
from mmcl.registry import BACKBONES, STRATEGIES, load

OLD = Path(__file__).parent / "of_0_1"


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(OLD))


def test_a_strategy_and_a_benchmark_that_were_scaffolded_run_as_they_are(tmp_path: Path) -> None:
    result = mmcl.run(
        benchmark=mmcl.benchmark("former_benchmark:FormerBenchmark", embedded=True, experiences=2),
        strategies=["former_strategy:FormerStrategy"],
        training={"iterations": 2, "batch_size": 4},
        out=tmp_path / "run",
        quiet=True,
    )
    assert len(result.matrix) == 3  # the start, and two experiences


def test_scripts_of_then_find_what_a_run_is_made_with_where_it_was() -> None:
    from mmcl.run import Experiment, RunResult, extend, resume, run, run_config  # as a script does: it is a function

    assert (mmcl.run, mmcl.extend, mmcl.resume, mmcl.RunResult) == (run, extend, resume, RunResult)
    assert callable(mmcl.run)
    assert (Experiment.__module__, run_config.__module__) == ("mmcl.experiment", "mmcl.running")


def test_the_example_of_then_is_told_where_the_function_is_now() -> None:
    with pytest.raises(PluginError, match=r"for MMCL 0\.1: import from mmcl\.objectives\.likelihoods instead"):
        load(STRATEGIES, "former_derpp:DERPP")


def test_a_backbone_of_then_is_told_what_its_methods_are_now() -> None:
    with pytest.raises(PluginError, match=r"defines 'tower'.*Change it; docs/changelog\.md") as caught:
        load(BACKBONES, "former_backbone:FormerBackbone")
    assert "Tower(module, reads, width)" in str(caught.value)


def test_heads_and_add_ons_that_nobody_would_tell_of_an_experience_are_refused() -> None:
    with pytest.raises(PluginError, match=r"defines 'grow', as for MMCL 0\.1. Allowed: meet\(arrival\)"):

        class Head(LinearHead):
            def grow(self, label_space: object) -> None: ...

    with pytest.raises(PluginError, match=r"'meet\(task_id, label_space, modalities\)'.*Allowed: meet\(arrival\)"):

        class OtherHead(LinearHead):
            def meet(self, task_id: int, label_space: object, modalities: object) -> None: ...  # type: ignore[override]

    with pytest.raises(PluginError, match="defines 'grow'"):

        class Adapter(AddOn):
            def grow(self, task_id: int) -> None: ...

    with pytest.raises(PluginError, match=r"'forward\(value, inputs\)'.*here\.value"):

        class OtherAdapter(AddOn):
            def forward(self, value: object, inputs: object) -> None: ...  # type: ignore[override]


def test_names_that_have_moved_are_found_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for number, (code, change) in enumerate(
        (
            ("from mmcl.learning.compose import check_composition", "check_composition from mmcl.learning.composition"),
            ("from mmcl.learning.compose import Need\nNeed.WHOLE_STREAM", 'order = "at once"'),
            ("import mmcl.models.addons", "import from mmcl.models.sites"),
            ("from mmcl.data.subset import Union", "import Joined from mmcl.data.subset instead"),
        )
    ):
        (tmp_path / f"former_names_{number}.py").write_text(f"{code}\n")
        with pytest.raises(PluginError) as caught:
            load(STRATEGIES, f"former_names_{number}:Anything")
        assert change in str(caught.value)
