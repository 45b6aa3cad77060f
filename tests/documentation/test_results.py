"""The script that writes the rows of the results page."""

import importlib.util
import json
from pathlib import Path

import pytest

from mmcl.evaluation.result_matrix import ResultMatrix

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("results_script", ROOT / "docs" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finished(folder: Path, name: str, first: float) -> None:
    """A run of two experiences: the first falls from ``first`` to 50, the second ends at 90."""
    matrix = ResultMatrix(["a", "b"])
    matrix.set_row(0, [first, 10.0], "a")
    matrix.set_row(1, [50.0, 90.0], "b")
    results = {"scenario": "TIL", "further": {}, "summary": matrix.summary(), **matrix.to_dict()}
    results["summary"] = {key: None if value != value else value for key, value in results["summary"].items()}
    (folder / name).mkdir(parents=True)
    (folder / name / "results.json").write_text(json.dumps(results))


def test_a_row_has_every_seed_and_the_mean(script, tmp_path, capsys):
    finished(tmp_path, "ewc-0", 80.0)
    finished(tmp_path, "ewc-1", 60.0)
    script.main([str(tmp_path), "--score", "Last", "--further", "accuracy:lost"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| strategy | Last, seeds 0 / 1 | mean | `accuracy`, lost, seeds 0 / 1 | mean |"
    assert lines[2] == "| `ewc` | 70.0 / 70.0 | 70.0 | 30.0 / 10.0 | 20.0 |"


def test_a_seed_that_was_not_run_is_no_number(script, tmp_path, capsys):
    finished(tmp_path, "ewc-0", 80.0)
    finished(tmp_path, "lwf-1", 60.0)
    script.main([str(tmp_path), "--score", "ACC"])
    assert capsys.readouterr().out.splitlines()[2:] == ["| `ewc` | 70.0 / - | 70.0 |", "| `lwf` | - / 70.0 | 70.0 |"]
