"""A benchmark that breaks one promise fails the check of that promise, for that reason."""

from pathlib import Path

import pytest

from mmcl.registry import BENCHMARKS
from mmcl.testing import BENCHMARK_CHECKS, check_benchmark
from mmcl.testing.promises.option_checks import OPTION_CHECKS

from .good_benchmark import GoodBenchmark
from .sabotage import Sabotage, broken, require
from .wrong_benchmarks import WRONG_BENCHMARKS


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of them write files; each has a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMCL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("sabotage", WRONG_BENCHMARKS, ids=str)
def test_a_broken_promise_is_found(sabotage: Sabotage) -> None:
    require(sabotage, BENCHMARKS, BENCHMARK_CHECKS)


def test_every_check_of_benchmarks_has_been_seen_to_fail() -> None:
    """Those of options are the same objects as for strategies, where they have been seen to fail."""
    own = {check.name for check in BENCHMARK_CHECKS} - {check.name for check in OPTION_CHECKS}
    assert {sabotage.check for sabotage in WRONG_BENCHMARKS} == own


def test_the_benchmark_that_is_sabotaged_is_a_good_one() -> None:
    assert broken(GoodBenchmark, BENCHMARKS, BENCHMARK_CHECKS) == {}
    check_benchmark(GoodBenchmark())
