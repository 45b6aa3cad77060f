"""What a stream promises, and one test set for all experiences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mmcl
from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.errors import DataError
from mmcl.evaluation.result_matrix import ResultMatrix
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark


def with_common_test(scenario: Scenario, experiences: int = 3) -> Benchmark:
    """A toy stream whose experiences are all tested on the first one's test set."""
    toy = toy_benchmark(scenario, experiences=experiences)
    data = [replace(part, test=toy.experiences[0].test) for part in toy.experiences]
    return Benchmark(
        name="toy", edition="toy", scenario=scenario, experiences=data, training=toy.training, common_test="fixed"
    )


def test_a_common_test_set_is_one_experience_with_all_classes() -> None:
    benchmark = with_common_test(CIL)
    assert [experience.name for experience in benchmark.test] == ["fixed"]
    assert benchmark.test[0].label_space == benchmark.label_space
    assert benchmark.test[0].samples is benchmark.experiences[2].test
    assert len(benchmark.train) == 3


def test_a_common_test_set_gives_a_matrix_of_one_column_in_which_forgetting_is_undefined(tmp_path: Path) -> None:
    result = mmcl.run(benchmark=with_common_test(DIL), out=str(tmp_path / "run"), quiet=True)
    assert result.results["columns"] == ["fixed"]
    assert result.results["rows"][1:] == ["toy0", "toy1", "toy2"]
    assert result.matrix.shape == (4, 1)
    column = result.matrix[1:, 0]
    assert np.isfinite(column).all()
    assert result.summary["acc"] == result.summary["acc_weighted"] == result.summary["last"] == column[-1]
    assert result.summary["aia"] == pytest.approx(column.mean())
    for undefined in ("forgetting", "bwt", "learning_acc", "fwt", "transfer"):
        assert result.summary[undefined] is None
    assert result.results["test_sizes"] == [len(with_common_test(DIL).experiences[0].test)]


def test_a_matrix_remembers_that_its_columns_belong_to_no_experience() -> None:
    matrix = ResultMatrix(["fixed"], paired=False)
    matrix.set_row(0, [50.0])
    matrix.set_row(1, [60.0])
    stored = ResultMatrix.from_dict(matrix.to_dict())
    assert not stored.paired
    assert stored.summary([10])["last"] == 60.0
    assert np.isnan(stored.summary([10])["bwt"])


def test_different_test_sets_are_not_common() -> None:
    toy = toy_benchmark(DIL)
    with pytest.raises(DataError, match="'toy1' has a test set of its own"):
        Benchmark(name="toy", edition="toy", scenario=DIL, experiences=toy.experiences, common_test="fixed")


def test_a_common_test_set_cannot_reveal_the_experience() -> None:
    with pytest.raises(DataError, match="common test set in scenario TIL"):
        with_common_test(TIL)


def test_a_longer_stream_keeps_its_common_test_set() -> None:
    benchmark = with_common_test(DIL)
    longer = benchmark.with_experience(replace(benchmark.experiences[0], name="more"))
    assert longer.common_test == "fixed"
    assert (len(longer.train), len(longer.test)) == (4, 1)


def test_other_label_spaces_in_a_shared_one_are_named_by_class() -> None:
    toy = toy_benchmark(DIL)
    other = replace(toy.experiences[1], label_space=LabelSpace.of(["beta", "delta"], first_id=1))
    with pytest.raises(DataError, match=r"'toy1' lacks 'alpha' and has 'delta' in addition, compared with 'toy0'"):
        Benchmark(name="toy", edition="toy", scenario=DIL, experiences=[toy.experiences[0], other])


# A class is an id with a name.


def spaces(scenario: Scenario, *of_experience: dict[int, str]) -> Benchmark:
    """A toy stream with these classes, by id."""
    toy = toy_benchmark(scenario, experiences=len(of_experience))
    data = [
        replace(part, label_space=LabelSpace(tuple(ClassLabel(id_, name) for id_, name in names.items())))
        for part, names in zip(toy.experiences, of_experience, strict=True)
    ]
    return Benchmark(name="toy", edition="toy", scenario=scenario, experiences=data)


@pytest.mark.parametrize("name", ["crane", "Crane", " crane", "CRANE_"])
def test_two_classes_of_one_name_do_not_compete(name: str) -> None:
    with pytest.raises(DataError, match=f"the classes 0 and 3 compete and are called 'crane' and '{name}'"):
        spaces(CIL, {0: "crane", 1: "fox"}, {2: "owl", 3: name})
    with pytest.raises(DataError, match="the classes 0 and 1 compete"):
        spaces(TIL, {0: "crane", 1: name}, {2: "owl", 3: "fox"})
    with pytest.raises(DataError, match="the classes 0 and 1 compete"):
        spaces(DIL, {0: "crane", 1: name}, {0: "crane", 1: name})


def test_two_tasks_may_have_a_class_of_one_name_each() -> None:
    assert spaces(TIL, {0: "crane", 1: "other"}, {2: "owl", 3: "other"}).label_space.ids == (0, 1, 2, 3)


def test_an_id_has_one_name_in_the_whole_stream() -> None:
    with pytest.raises(DataError, match="class id 1 stands for 'fox' and, in 'toy1', for 'owl'"):
        spaces(TIL, {0: "crane", 1: "fox"}, {1: "owl", 2: "ant"})
    assert len(spaces(DIL, {0: "red fox", 1: "owl"}, {0: "Red_Fox", 1: "owl"}).label_space) == 2


@pytest.mark.parametrize("name", ["", "  ", 7])
def test_a_class_without_a_name_is_refused(name: object) -> None:
    with pytest.raises(DataError, match="class 1 of 'toy0' is called"):
        spaces(CIL, {0: "crane", 1: name}, {2: "owl"})  # type: ignore[dict-item]


def test_remarks_stay_with_a_longer_stream() -> None:
    toy = toy_benchmark(CIL)
    told = Benchmark(name="toy", edition="toy", scenario=CIL, experiences=toy.experiences[:1], remarks=["so"])
    assert told.with_experience(toy.experiences[1]).remarks == ("so",)
