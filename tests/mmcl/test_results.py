"""Chance levels and zero-shot scores of whole runs, from the matrices that the runs keep."""

import csv
import gzip
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from matplotlib import pyplot

import mmcl
from mmcl import testing
from mmcl.data.experience_data import ExperienceData
from mmcl.errors import CheckpointError
from mmcl.evaluation.metric import AMONG_OWN
from mmcl.evaluation.result_matrix import ResultMatrix
from mmcl.evaluation.retrieval_metric import Retrieval
from mmcl.objectives.contrastive import Contrastive
from mmcl.results import RunResult
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_pairs

SETTINGS = {"iterations": 10, "lr": 1e-3}


def predictions(folder: Path, experiences: int) -> list[dict[str, str]]:
    with gzip.open(folder / "predictions" / f"{experiences}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(benchmark: Benchmark, out: Path) -> RunResult:
    return mmcl.run(benchmark=benchmark, training=SETTINGS, out=out, quiet=True)


@pytest.mark.parametrize(
    ("scenario", "levels"), [(CIL, [50, 25, 100 / 6]), (TIL, [50, 50, 50]), (DIL, [50, 50, 50])], ids=lambda s: str(s)
)
def test_chance_is_what_guessing_scores_just_before_an_experience(
    scenario: Scenario, levels: list[float], tmp_path: Path, cache: Path
) -> None:
    result = run(toy_benchmark(scenario), tmp_path / "run")
    assert result.results["chance"] == pytest.approx(levels)
    R = result.matrix[1:]
    assert result.summary["fwt"] == pytest.approx(np.mean([R[0, 1] - levels[1], R[1, 2] - levels[2]]))


def test_the_chance_of_retrieval_is_that_of_a_random_order(tmp_path: Path, cache: Path) -> None:
    toy = toy_pairs(experiences=2, pairs=12)
    pairs = Benchmark(
        name="pairs",
        edition="toy",
        scenario=DIL,
        experiences=toy.experiences,
        objective=Contrastive(),
        metric=Retrieval(),
        training=toy.training,
    )
    result = run(pairs, tmp_path / "run")
    ranks = {
        side: [
            int(line["rank"])
            for line in predictions(result.folder, 0)
            if (line["test set"], line["asked with"]) == ("pairs0", side)
        ]
        for side in ("image", "text")
    }
    recalls = [100 * np.mean(np.array(ranks[side]) < k) for side in ranks for k in (1, 5, 10)]
    assert np.mean(recalls) == pytest.approx(result.matrix[0, 0])
    level = 100 * (1 / 12 + 5 / 12 + 10 / 12) / 3
    assert result.results["chance"] == pytest.approx([level, level])
    assert result.summary["fwt"] == pytest.approx(result.matrix[1, 1] - level)
    assert abs(result.summary["fwt"] or 0) < 50


def test_the_loss_of_zero_shot_skill_is_also_given_at_equal_label_space(tmp_path: Path, cache: Path) -> None:
    result = run(toy_benchmark(CIL), tmp_path / "run")
    own = ResultMatrix.from_dict(result.results["further"][AMONG_OWN]).complete
    np.testing.assert_array_equal(own[0], result.matrix[0])  # before training only own classes compete
    assert (own >= result.matrix).all()
    drop = np.mean([own[0, 1] - own[1, 1], own[0, 2] - (own[1, 2] + own[2, 2]) / 2])
    assert result.summary["zeroshot_drop_own"] == pytest.approx(drop)
    assert result.summary["fwt_zeroshot_own"] == pytest.approx(np.mean([own[1, 1] - own[0, 1], own[2, 2] - own[0, 2]]))
    report = (result.folder / "report.md").read_text("utf-8")
    assert "zeroshot_drop_own and fwt_zeroshot_own are the same at equal label space" in report


def test_a_result_is_opened_again_shown_in_a_notebook_and_plotted_without_arguments(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = mmcl.run(
        benchmark=toy_benchmark(TIL, experiences=2), training={"iterations": 1}, out=tmp_path / "run", quiet=True
    )
    for experiences, row in enumerate(result.results["matrix"]):
        said = predictions(result.folder, experiences)
        for column, score in zip(result.results["columns"], row, strict=True):
            of_set = [line for line in said if line["test set"] == column]
            assert [line["row"] for line in of_set] == [str(number) for number in range(16)]
            assert 100 * np.mean([line["target"] == line["prediction"] for line in of_set]) == score
            assert all(0.5 <= float(line["score"]) <= 1 for line in of_set)  # of two classes
        frame = result.predictions(experiences)
        assert frame.astype({"row": str}).drop(columns="score").to_dict("records") == [
            {name: value for name, value in line.items() if name != "score"} for line in said
        ]
    assert result.predictions().equals(result.predictions(2))
    with pytest.raises(CheckpointError, match=r"no predictions/3\.csv\.gz"):
        result.predictions(3)
    again = mmcl.open(str(tmp_path / "run"))
    assert again == result
    shown = again._repr_markdown_()
    assert f"| toy1 | {again.matrix[2, 0]:.1f} | {again.matrix[2, 1]:.1f} |" in shown
    assert "toy edition: not the official benchmark's numbers" in shown
    with pyplot.rc_context():
        pyplot.switch_backend("agg")
        again.plot()
    assert pyplot.gcf().axes[0].get_title().startswith("toy (toy edition")
    pyplot.close("all")
    with pytest.raises(CheckpointError, match="no such folder"):
        mmcl.open(tmp_path / "nothing")


def test_a_notebook_shows_what_a_benchmark_and_an_experience_consist_of() -> None:
    toy = toy_benchmark(CIL, experiences=2)
    assert "| toy1 | image | 2 | 16 | 16 |" in toy._repr_markdown_()
    assert "toy0" not in toy.train[1]._repr_markdown_()


@pytest.mark.parametrize("module", [mmcl, mmcl.streams, testing])
def test_every_lazy_module_shows_what_is_there(module: ModuleType) -> None:
    assert set(dir(module)) == set(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("scenario", [TIL, DIL], ids=lambda s: s.name)
def test_where_the_label_space_does_not_grow_there_is_one_drop(scenario: Scenario, tmp_path: Path, cache: Path) -> None:
    result = run(toy_benchmark(scenario, experiences=2), tmp_path / "run")
    assert result.results["further"] == {}
    assert "zeroshot_drop_own" not in result.summary
    assert "zeroshot_drop_own" not in (result.folder / "report.md").read_text("utf-8")


def test_a_common_test_set_has_no_other_classes(tmp_path: Path) -> None:
    toy = toy_benchmark(CIL)
    shared = [ExperienceData(d.name, d.train, toy.experiences[0].test, d.label_space) for d in toy.experiences]
    benchmark = Benchmark(name="toy", edition="toy", scenario=CIL, experiences=shared, common_test="all")
    assert benchmark.metric.further() == {}
