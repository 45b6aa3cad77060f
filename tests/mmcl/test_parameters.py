"""A run says how many parameters each experience has trained and added, and what is kept afterwards."""

from pathlib import Path
from typing import Any

import pytest
from mmcl_strategies.parameter_efficient.moe_adapters import MoEAdapters
from mmcl_strategies.parameter_efficient.rail import RAIL
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.replay.replay import Replay

import mmcl
from mmcl.data.nested import nbytes, tensors
from mmcl.evaluation.comparison import compare_results
from mmcl.evaluation.report import markdown_report
from mmcl.run_folder import RunFolder
from mmcl.testing.toy import toy_benchmark

TRAINING = {"iterations": 2, "batch_size": 4}


def results(out: Path, *strategies: Any) -> dict[str, Any]:
    run = mmcl.run(
        benchmark=toy_benchmark(experiences=2), strategies=strategies, training=TRAINING, out=out / "run", quiet=True
    )
    return run.results


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = found["parameters"]["per_experience"]
    assert [row["experience"] for row in parameters] == found["columns"]
    return parameters


def states(out: Path, *names: str) -> dict[str, dict[str, Any]]:
    """What the last checkpoint of a run holds of its strategies."""
    return RunFolder.open(out / "run").load(list(names))[1]


def test_fine_tuning_trains_all_and_neither_adds_nor_keeps_anything(tmp_path: Path, cache: Path) -> None:
    found = results(tmp_path)
    for row in rows(found):
        assert row["trained"] == found["parameters"]["trainable"] > 0
        assert (row["added"], row["stored"], row["bytes"]) == (0, 0, 0)


def test_what_a_strategy_keeps_is_what_its_states_hold(tmp_path: Path, cache: Path) -> None:
    found = results(tmp_path, EWC(samples=4), Replay(size=3))
    kept, last = states(tmp_path, "ewc", "replay"), rows(found)[-1]
    assert last["stored"] == sum(tensor.numel() for _, tensor in tensors(kept)) > 2 * found["parameters"]["trainable"]
    assert last["bytes"] == nbytes(kept) > 4 * 2 * found["parameters"]["trainable"]
    assert last["added"] == 0


def test_adapters_are_added_to_the_backbone_and_kept(tmp_path: Path, cache: Path) -> None:
    found = results(tmp_path, MoEAdapters(experts=3))
    first, second = rows(found)
    backbone = first["total"] - first["added"]
    assert first["added"] > second["added"] > 0, "experts come once, a gate with every experience"
    assert backbone + first["added"] + second["added"] == second["total"] == found["parameters"]["total"]
    assert 0 < second["trained"] < first["trained"] <= first["added"], "experts freeze"
    assert second["stored"] >= first["added"] + second["added"]


def test_what_is_solved_for_is_not_trained_but_kept(tmp_path: Path, cache: Path) -> None:
    for row in rows(results(tmp_path, RAIL(expansion=10))):
        assert row["trained"] == 0
        assert row["bytes"] >= 8 * 10 * 10, "the inverse in double precision"


def test_reports_and_comparisons_show_it(tmp_path: Path, cache: Path) -> None:
    found = results(tmp_path, MoEAdapters(experts=3))
    first, second = rows(found)
    assert f"| {second['trained']:,} | {second['added']:,} | {second['stored']:,} | {second['bytes']:,} |" in (
        markdown_report(found)
    )
    comparison = compare_results([found, {**found, "seed": 1}])
    shown = dict(zip(comparison.header, comparison.rows[0].cells, strict=True))
    assert shown["trained"] == f"{second['trained']:,}"
    assert shown["added"] == f"{(first['added'] + second['added']) / 2:,.0f}"
    assert shown["stored MiB"] == f"{second['bytes'] / 2**20:.2f}"
    assert comparison.records()[0]["trained"] == second["trained"]


@pytest.mark.parametrize(
    "parameters", [{"total": 3, "trainable": 2}, {"total": 3, "trainable": 2, "per_experience": [3]}]
)
def test_runs_of_earlier_versions_have_a_dash(parameters: dict[str, Any], tmp_path: Path, cache: Path) -> None:
    found = {**results(tmp_path), "parameters": parameters}
    comparison = compare_results([found])
    shown = dict(zip(comparison.header, comparison.rows[0].cells, strict=True))
    assert [shown[name] for name in ("trained", "added", "stored MiB")] == ["-"] * 3
    assert "kept after it" not in markdown_report(found)
