"""What ``mmcl new`` writes works from its first minute: installed, listed, run and tested, promises included."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmcl.scaffold.package import GROUP_OF, new_package

SMALL = ("--set", "benchmark.experiences=2", "--set", "iterations=2", "--out", "run")
RUN = {
    "strategy": ("mtil", "--embedded", "--strategy", "fresh-idea"),
    "benchmark": ("fresh-idea", "--embedded", "--strategy", "replay:size=4"),
    "backbone": ("mtil", "--embedded", "--backbone", "fresh-idea"),
}


@pytest.mark.parametrize("kind", GROUP_OF)
def test_a_new_package_works_as_soon_as_it_is_installed(
    kind: str, install: Callable[..., Callable[..., "subprocess.CompletedProcess[str]"]], tmp_path: Path
) -> None:
    package = new_package(kind, "fresh-idea", tmp_path)
    run = install(package)
    rows = {row["name"]: row for row in json.loads(run("mmcl", "list", "--json").stdout)}
    assert rows["fresh-idea"]["distribution"] == "mmcl-fresh-idea"
    assert rows["fresh-idea"]["title"].startswith("Fresh idea: ")
    assert not any(row["broken"] for row in rows.values())
    for command in (("mmcl", "show", "fresh-idea"), ("mmcl", "run", *RUN[kind], *SMALL)):
        done = run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]} {done.stderr[-3000:]}"
    assert len(json.loads((tmp_path / "run" / "results.json").read_text())["matrix"]) == 3
    tested = run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)
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
