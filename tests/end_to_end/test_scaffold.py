"""What ``mmcl new`` writes works from its first minute: installed, listed, run and tested, promises included."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from mmcl.scaffold.package import GROUP_OF, new_package

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_new_packages_are_listed_and_shown_as_soon_as_they_are_installed(installed: Command, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(installed(tmp_path, "mmcl", "list", "--json").stdout)}
    assert not any(row["broken"] for row in rows.values())
    for kind in GROUP_OF:
        assert rows[f"fresh-{kind}"]["distribution"] == f"mmcl-fresh-{kind}"
        assert rows[f"fresh-{kind}"]["title"].startswith(f"Fresh {kind}: ")
        shown = installed(tmp_path, "mmcl", "show", f"fresh-{kind}")
        assert shown.returncode == 0, shown.stderr


def test_what_strangers_have_made_is_run_together_and_beside_a_strategy_of_our_own(
    installed: Command, tmp_path: Path
) -> None:
    strategies = ("--strategy", "fresh-strategy", "--strategy", "derpp:alpha=0.01", "--strategy", "ewc")
    small = ("--set", "benchmark.experiences=2", "--set", "iterations=2", "--set", "ewc.samples=4", "--out", "run")
    parts = ("fresh-benchmark", "--embedded", "--backbone", "fresh-backbone", *strategies)
    done = installed(tmp_path, "mmcl", "run", *parts, *small)
    assert done.returncode == 0, f"{done.stdout[-3000:]} {done.stderr[-3000:]}"
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert len(results["matrix"]) == 3
    assert results["strategies"] == [
        {"name": "fresh-strategy"},
        {"name": "derpp", "alpha": 0.01},
        {"name": "ewc", "samples": 4},
    ]


def test_the_tests_of_new_packages_pass_promises_included(
    installed: Command, packages: Mapping[str, Path], tmp_path: Path
) -> None:
    """In one process, whose start takes longer than most of them: their settings of pytest are the same."""
    new = [packages[kind] for kind in GROUP_OF]
    settings = [
        (package / "pyproject.toml").read_text("utf-8").partition("[tool.pytest.ini_options]") for package in new
    ]
    assert len({table for _, _, table in settings}) == 1
    # a folder of its own: it would tidy up after all that ran here before
    options = ("-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tests'}")
    tested = installed(new[0], "python", "-m", "pytest", *options, *map(str, new))
    assert tested.returncode == 0, tested.stdout[-5000:]


def test_new_packages_pass_formatter_linter_and_type_checker(tmp_path: Path) -> None:
    packages = [new_package(kind, f"{kind}-with-a-rather-long-name"[:30], tmp_path) for kind in GROUP_OF]
    sources = [str(package / "src") for package in packages]
    for command in (
        ("ruff", "format", "--check", "--no-cache", str(tmp_path)),
        ("ruff", "check", "--no-cache", str(tmp_path)),
        ("mypy", "--config-file", str(packages[0] / "pyproject.toml"), "--cache-dir", str(tmp_path / "mypy"), *sources),
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env={**os.environ, "MYPYPATH": os.pathsep.join(sources)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
