"""The example of a package of somebody else: found by its entry point, treated like MMCL's own strategies."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "docs" / "example_plugin"
SMALL = ("--set", "benchmark.experiences=2", "--set", "iterations=2", "--set", "ewc.samples=4", "--out", "run")


def test_a_strategy_of_somebody_else_is_listed_checked_run_and_tested(
    install: Callable[..., Callable[..., "subprocess.CompletedProcess[str]"]], tmp_path: Path
) -> None:
    package = shutil.copytree(EXAMPLE, tmp_path / "package")
    run = install(package)
    rows = {row["name"]: row for row in json.loads(run("mmcl", "list", "strategies", "--json").stdout)}
    assert rows["derpp"] == {
        "kind": "strategies",
        "name": "derpp",
        "distribution": "mmcl-der",
        "title": "DER++: dark experience replay.",
        "broken": None,
    }
    for command in (
        ("mmcl", "check", "derpp"),
        ("mmcl", "run", "mtil", "--embedded", "--strategy", "derpp:alpha=0.01", "--strategy", "ewc", *SMALL),
    ):
        done = run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]} {done.stderr[-3000:]}"
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["strategies"] == [{"name": "derpp", "alpha": 0.01}, {"name": "ewc", "samples": 4}]
    tested = run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)
    assert tested.returncode == 0, tested.stdout[-5000:]
