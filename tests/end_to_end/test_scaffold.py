"""What ``mmcl new`` writes works from its first minute: installed, listed, run and tested, promises included."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

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


def test_new_packages_are_run_together(installed: Command, tmp_path: Path) -> None:
    parts = ("--backbone", "fresh-backbone", "--strategy", "fresh-strategy", "--strategy", "replay:size=4")
    small = ("--set", "benchmark.experiences=2", "--set", "iterations=2", "--out", "run")
    done = installed(tmp_path, "mmcl", "run", "fresh-benchmark", "--embedded", *parts, *small)
    assert done.returncode == 0, f"{done.stdout[-3000:]} {done.stderr[-3000:]}"
    assert len(json.loads((tmp_path / "run" / "results.json").read_text())["matrix"]) == 3


@pytest.mark.parametrize("kind", GROUP_OF)
def test_the_tests_of_a_new_package_pass_promises_included(
    kind: str, installed: Command, packages: Mapping[str, Path]
) -> None:
    tested = installed(packages[kind], "python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
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
