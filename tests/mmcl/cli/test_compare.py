"""``mmcl compare`` on the command line, and ``mmcl.compare`` from Python."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mmcl
from mmcl.cli import app
from mmcl.config import TrainingConfig
from mmcl.errors import CheckpointError
from mmcl.evaluation.report import HEADLINES


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Two strategies on two seeds, as runs leave them."""
    made = []
    for name, scores in (("ewc", (60.0, 61.0)), ("lwf", (50.0, 54.0))):
        for seed, score in enumerate(scores):
            folder = tmp_path / f"{name}-{seed}"
            folder.mkdir()
            (folder / "config.toml").write_text(f'seed = {seed}\n[benchmark]\nname = "mtil"\n')
            results = {
                "benchmark": "mtil",
                "edition": "embedded",
                "scenario": "TIL",
                "backbone": "glyph-clip",
                "strategies": [{"name": name}],
                "seed": seed,
                "columns": ["birds"],
                "summary": dict.fromkeys(HEADLINES, score),
                "training": TrainingConfig().to_dict(),
            }
            (folder / "results.json").write_text(json.dumps(results))
            made.append(str(folder))
    return made


def printed(*arguments: str) -> str:
    outcome = CliRunner().invoke(app, ["compare", *arguments])
    assert outcome.exit_code == 0, outcome.output
    return outcome.stdout


def test_every_format_is_what_python_gets(folders: list[str]) -> None:
    comparison = mmcl.compare(folders, against="lwf")
    written = {"--markdown": comparison.markdown(), "--latex": comparison.latex(), "--json": comparison.json()}
    for option, text in {**written, "--csv": comparison.csv()}.items():
        assert printed(*folders, "--against", "lwf", option).rstrip() == text.rstrip()
    last = [line for line in csv.DictReader(io.StringIO(comparison.csv())) if line["score"] == "Last"]
    assert [(line["strategies"], line["mean"], bool(line["p"])) for line in last] == [
        ("ewc", "60.5", True),
        ("lwf", "52.0", False),
    ]


def test_a_folder_of_runs_stands_for_the_runs_below_it(folders: list[str], tmp_path: Path) -> None:
    assert printed(str(tmp_path), "--csv") == printed(*folders, "--csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no config\.toml"):
        mmcl.compare([tmp_path / "empty"])


def test_two_formats_at_once_are_refused(folders: list[str]) -> None:
    outcome = CliRunner().invoke(app, ["compare", *folders, "--csv", "--latex"])
    assert outcome.exit_code == 2
    assert "exclude each other" in outcome.output


def test_a_narrow_terminal_shows_every_number_of_a_comparison(folders: list[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("mmcl.cli.terminal.output.width", 40)
    shown = printed(*folders)
    for number in ("60.5 ± 6.4", "52.0 ± 25.4"):
        assert shown.count(number) == 4
    assert max(map(len, shown.splitlines())) <= 40


CHILD = """
import json, sys
from mmcl.cli import main
codes = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["mmcl", *words]
    try:
        main()
        codes.append(0)
    except SystemExit as end:
        codes.append(end.code or 0)
heavy = {"torch", "avalanche", "open_clip", "transformers", "matplotlib"} & set(sys.modules)
print(json.dumps([codes, sorted(heavy)]))
"""


def test_an_ascii_terminal_gets_every_sign_in_ascii_and_nothing_heavy_is_loaded(
    folders: list[str], tmp_path: Path
) -> None:
    results = Path(folders[0]) / "results.json"
    results.write_text(json.dumps({**json.loads(results.read_text()), "backbone": "m\u00fcnchen-\u5b57"}))
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    commands = [["compare", *folders], ["report", folders[0], "--json"], ["report", str(tmp_path / "\u00e9")]]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(commands)],
        env={**os.environ, **ascii_only},
        capture_output=True,
        timeout=60,
        check=False,
    )
    shown = (done.stdout + done.stderr).decode("ascii")
    assert done.returncode == 0, shown
    assert "Traceback" not in shown
    assert "m\\xfcnchen-\\u5b57" in shown
    assert "52.0 +- 25.4" in shown
    assert json.loads(done.stdout.splitlines()[-1]) == [[0, 0, 2], []]
