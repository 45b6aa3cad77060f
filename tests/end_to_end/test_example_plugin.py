"""The example of a package of somebody else: found by its entry point, treated like MMCL's own strategies."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

Command = Callable[..., "subprocess.CompletedProcess[str]"]
SMALL = ("--set", "benchmark.experiences=2", "--set", "iterations=2", "--set", "ewc.samples=4", "--out", "run")


def test_a_strategy_of_somebody_else_is_listed_and_run(installed: Command, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(installed(tmp_path, "mmcl", "list", "strategies", "--json").stdout)}
    assert rows["derpp"] == {
        "kind": "strategies",
        "name": "derpp",
        "distribution": "mmcl-der",
        "title": "DER++: dark experience replay.",
        "broken": None,
    }
    composition = ("--strategy", "derpp:alpha=0.01", "--strategy", "ewc")
    done = installed(tmp_path, "mmcl", "run", "mtil", "--embedded", *composition, *SMALL)
    assert done.returncode == 0, f"{done.stdout[-3000:]} {done.stderr[-3000:]}"
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["strategies"] == [{"name": "derpp", "alpha": 0.01}, {"name": "ewc", "samples": 4}]


def test_its_own_tests_pass_in_which_it_keeps_every_promise(installed: Command, packages: Mapping[str, Path]) -> None:
    tested = installed(packages["example"], "python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout[-5000:]
