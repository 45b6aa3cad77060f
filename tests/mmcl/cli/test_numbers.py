"""At 40, 80 and 200 columns and in a pipe the commands print every number of results.json in full."""

import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mmcl.cli import app
from mmcl.cli.terminal import output
from mmcl.evaluation.comparison import compare_results
from mmcl.evaluation.report import headlines

WIDTHS = (40, 80, 200, None)
PARTS = '''
from dataclasses import dataclass

from mmcl.backbones.openclip import tiny_clip
from mmcl.models.backbone import BackbonePlugin
from mmcl.streams.benchmark import BenchmarkPlugin
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark


@dataclass(kw_only=True)
class Toy(BenchmarkPlugin):
    """Five experiences."""

    scenario = TIL
    name = "toy"

    def build(self):
        return toy_benchmark(TIL, experiences=5, per_class=4)


@dataclass(kw_only=True)
class Small(BackbonePlugin):
    """A miniature."""

    modalities = frozenset({"image", "text"})

    def build(self):
        return tiny_clip()
'''
RUN = ["run", "parts_of_numbers:Toy", "--backbone", "parts_of_numbers:Small", "--set", "iterations=1", "--out", "run"]
SCORES = st.none() | st.sampled_from([100.0, -100.0, 0.0, -0.04, 99.95]) | st.floats(-1e9, 1e9)


@contextmanager
def columns(width: int | None) -> Iterator[None]:
    """A terminal of a width, or a pipe."""
    with pytest.MonkeyPatch.context() as patch:
        if width is None:
            patch.delenv("COLUMNS", raising=False)
        else:
            patch.setenv("COLUMNS", str(width))
            patch.setenv("FORCE_COLOR", "1")  # a terminal for rich, whatever standard output is
            patch.setenv("TERM", "xterm")
            patch.setattr(output, "width", width)
        yield


def printed(width: int | None, *arguments: str) -> str:
    """What a command prints, without colours."""
    with columns(width):
        outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0, outcome.output
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", outcome.output)
    assert width is None or max(map(len, shown.splitlines())) <= width
    return shown


def numbers(text: str) -> Counter[str]:
    return Counter(re.findall(r"(?<![\d.])-?\d+\.\d(?!\d)", text))


def of_results(results: dict[str, Any]) -> Counter[str]:
    """The numbers of the matrix and of the summary, as they are written."""
    scores = [value for row in results["matrix"] for value in row]
    scores += [results["summary"][name] for name in headlines(results)]
    return Counter(f"{score:.1f}" for score in scores if score is not None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the module of the parts."""
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "parts_of_numbers.py").write_text(PARTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder
    sys.modules.pop("parts_of_numbers", None)


@pytest.fixture(scope="module")
def shown(place: Path, cache: Path) -> str:
    """What a run in a narrow terminal has shown."""
    return printed(40, *RUN)


@pytest.fixture(scope="module")
def results(shown: str, place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "run" / "results.json").read_text("utf-8"))
    return found


def test_a_run_shows_every_number_twice_as_it_is_found_and_in_the_end(shown: str, results: dict[str, Any]) -> None:
    matrix = Counter(f"{score:.1f}" for row in results["matrix"] for score in row if score is not None)
    assert matrix.total() == 30
    assert not matrix + of_results(results) - numbers(shown)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_resumed_run_shows_every_number(width: int | None, results: dict[str, Any]) -> None:
    assert not of_results(results) - numbers(printed(width, "resume", "run"))


@settings(max_examples=4, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(data=st.data())
def test_report_and_compare_show_every_number_whatever_it_is(data: st.DataObject, results: dict[str, Any]) -> None:
    drawn = []
    for name in ("ewc", "a_strategy_of_a_rather_long_name"):
        for seed in range(2):
            matrix = [data.draw(st.lists(SCORES, min_size=len(row), max_size=len(row))) for row in results["matrix"]]
            summary = {score: data.draw(SCORES) for score in headlines(results)}
            strategies = [{"name": name}]
            drawn.append({**results, "strategies": strategies, "seed": seed, "matrix": matrix, "summary": summary})
    of_cells = [numbers(str(score)) for row in compare_results(drawn).rows for score in row.scores.values()]
    expected = sum(of_cells, Counter[str]())
    with tempfile.TemporaryDirectory() as place:
        for number, content in enumerate(drawn):
            folder = Path(place) / str(number)
            folder.mkdir()
            (folder / "config.toml").write_text('[benchmark]\nname = "toy"\n')
            (folder / "results.json").write_text(json.dumps(content))
        for width in WIDTHS:
            assert not of_results(drawn[0]) - numbers(printed(width, "report", str(Path(place) / "0")))
            assert not expected - numbers(printed(width, "compare", place))
