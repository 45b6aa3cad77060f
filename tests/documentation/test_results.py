"""Tables of results.md and of the pages of strategies are what the kept results say, and those are of the suites."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from mmcl.config import write_toml
from mmcl.evaluation.result_matrix import ResultMatrix

DOCS = Path(__file__).parents[2] / "docs"
FIRST, LAST = "mtil/finetune/seed0", "mtil/joint/seed2"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results_script", DOCS / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copied(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script at a copy of the documentation, with a made-up kept run for every cell of MTIL."""
    for name in ("suites", "strategies"):
        shutil.copytree(DOCS / name, tmp_path / name)
    shutil.copy(DOCS / "results.md", tmp_path / "results.md")
    monkeypatch.setattr(script, "HERE", tmp_path)
    for cell in script.cells_of("mtil"):
        file = tmp_path / "results" / f"{cell.name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(script.compact(results(70.0 + cell.config.seed), cell)))
    yield script
    script.kept.cache_clear()


def results(first: float) -> dict[str, object]:
    """A run of two experiences: the first falls from ``first`` to 50, the second ends at 90, untrained 30 and 40."""
    matrix = ResultMatrix(["a", "b"])
    matrix.set_zero_shot([30.0, 40.0])
    matrix.set_row(0, [first, 10.0], "a")
    matrix.set_row(1, [50.0, 90.0], "b")
    facts = dict.fromkeys(("benchmark", "edition", "backbone", "strategies", "seed", "data", "versions"), "x")
    return {
        **facts,
        "scenario": "TIL",
        "further": {},
        "model": {"digest": "d"},
        "seconds": {},
        **matrix.to_dict(),
        "summary": {name: None if value != value else value for name, value in matrix.summary().items()},
    }


def test_pages_and_kept_results_are_fresh(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--check"]) == 0, capsys.readouterr().out


def test_a_number_that_no_run_has_is_noticed(script: ModuleType) -> None:
    page, strategy = ((DOCS / name).read_text("utf-8") for name in ("results.md", "strategies/lwf.md"))
    (row,) = (line for line in page.splitlines() if line.startswith("| `lwf` | 80.9 / "))
    assert script.results_page(page.replace(row, row.replace("80.9", "81.0"))) == page
    (row,) = (line for line in strategy.splitlines() if line.startswith("| embedded DomainNet |"))
    assert script.strategy_page("lwf", strategy.replace(row, row.replace("5", "6"))) == strategy


def test_a_row_has_every_seed_and_the_mean_and_zero_shot_is_the_model_before_training(copied: ModuleType) -> None:
    text = copied.results_page((DOCS / "results.md").read_text("utf-8"))
    table = text.partition("<!-- table mtil -->\n")[2].partition("\n<!-- end -->")[0].splitlines()
    assert table[0].startswith("| strategy | Transfer, seeds 0 / 1 / 2 | mean | Avg, seeds 0 / 1 / 2 | mean | Last, ")
    assert table[2] == "| zero-shot | 40.0 | 40.0 | 35.0 | 35.0 | 35.0 | 35.0 |"
    scores = "10.0 / 10.0 / 10.0 | 10.0 | 55.0 / 55.2 / 55.5 | 55.2 | 70.0 / 70.0 / 70.0 | 70.0"
    assert table[3:] == [f"| `{name}` | {scores} |" for name in ("finetune", "lwf", "replay", "ewc", "zscl", "joint")]


def test_a_table_without_all_its_runs_stays_and_the_page_says_that_it_is_older(copied: ModuleType) -> None:
    page = (DOCS / "results.md").read_text("utf-8")
    (copied.HERE / "results" / f"{LAST}.json").unlink()
    after = copied.results_page(page)
    assert after.partition("<!-- table mtil -->")[2] == page.partition("<!-- table mtil -->")[2]
    older = (
        "MTIL, the other strategies on MTIL, MTIL with a hidden task, X-TAIL, CIFAR-100, additions to a frozen model "
        "on CIFAR-100, few-shot sessions of CIFAR-100, few-shot sessions of miniImageNet, DomainNet, P9D"
    )
    assert f"to be measured again: {older}.**" in after


def test_pages_of_strategies_are_written_row_by_row_beside_fine_tuning(copied: ModuleType) -> None:
    row = "| embedded MTIL, order 1 | Last | 1.0 / 1.0 / 1.0 | 2.0 / 2.0 / 2.0 |"
    other = "| embedded P9D | `r_mean` at the end | 1.0 / 1.0 / 1.0 | 2.0 / 2.0 / 2.0 |"
    written = copied.strategy_page("zscl", f"text\n{row}\n{other}\n")
    assert written == f"text\n| embedded MTIL, order 1 | Last | 70.0 / 70.0 / 70.0 | 70.0 / 70.0 / 70.0 |\n{other}\n"
    assert copied.strategy_page("finetune", "| embedded MTIL, order 1 | Last | 1.0 |\n").count("|") == 4


def test_a_kept_result_of_another_configuration_or_of_no_suite_is_noticed(copied: ModuleType) -> None:
    copied.main([])
    assert list(copied.complaints()) == []
    file = copied.HERE / "results" / f"{FIRST}.json"
    file.write_text(file.read_text().replace('"training": {}', '"training": {"lr": 1}'))
    shutil.copy(file, file.with_name("seed7.json"))
    assert [line.partition(" is of ")[2].split()[0] for line in copied.complaints()] == ["another", "no"]


def test_what_is_kept_is_copied_from_finished_cells_alone(copied: ModuleType, tmp_path: Path) -> None:
    shutil.rmtree(copied.HERE / "results")
    finished, killed = [cell for cell in copied.cells_of("mtil", tmp_path / "runs") if cell.name in (FIRST, LAST)]
    for cell in (finished, killed):
        cell.folder.mkdir(parents=True)
        write_toml(cell.config, cell.folder / "config.toml")
        (cell.folder / "progress.json").write_text('{"experiences": 2, "experiences_done": 2}')
        (cell.folder / "results.json").write_text(json.dumps(results(70.0)))
    (finished.folder / "matrix.png").touch()
    assert list(copied.keep(tmp_path / "runs")) == [FIRST]
    stored = json.loads((copied.HERE / "results" / f"{FIRST}.json").read_text())
    assert stored["config"] == copied.config_of(finished)
    assert "seconds" not in stored


def test_kept_results_name_no_place_of_a_machine() -> None:
    for file in (DOCS / "results").rglob("*.json"):
        assert '"/' not in file.read_text("utf-8"), file
