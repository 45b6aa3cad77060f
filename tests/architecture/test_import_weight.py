"""What a clean interpreter has loaded: for what reads text alone not even torch, for what declares nothing that builds.

One interpreter does it all, from light to heavy, since its start and torch take longer than the rest.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BUILDS = {"avalanche", "open_clip", "peft", "scipy", "sklearn", "timm", "torchvision", "transformers", "wandb"}
CHECKS = {"beartype", "typeguard"}  # shapes, in tests
OTHERS = {"jax", "matplotlib"}


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What it has printed, and nothing was said beside it."""
    folder = tmp_path_factory.mktemp("written")
    child = subprocess.run(
        [sys.executable, Path(__file__).with_name("interpreter.py"), folder],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )
    assert (child.returncode, child.stderr) == (0, "")
    found: dict[str, Any] = json.loads(child.stdout)
    return found


@pytest.mark.parametrize(
    "claim",
    [
        "import mmcl.streams",
        "--help",
        "list",
        "list strategies --json",
        "show zscl",
        "new benchmark idea",
        "check nothing",
    ],
)
def test_what_reads_text_alone_loads_neither_torch_nor_numpy(claim: str, interpreter: dict[str, Any]) -> None:
    assert {"torch", "numpy", *BUILDS, *CHECKS, *OTHERS}.isdisjoint(interpreter["loaded"][claim])


def test_the_base_class_of_strategies_loads_nothing_that_it_does_not_need(interpreter: dict[str, Any]) -> None:
    assert {*BUILDS, *CHECKS, *OTHERS}.isdisjoint(interpreter["loaded"]["import mmcl.learning.strategy"])


@pytest.mark.parametrize(
    "claim",
    [
        "import mmcl.learning.strategy",
        "explain ewc",
        "explain zscl --benchmark mtil --backbone glyph-clip",
        "load every plugin",
    ],
)
def test_what_declares_loads_no_package_that_builds(claim: str, interpreter: dict[str, Any]) -> None:
    assert sorted({*BUILDS, *CHECKS}.intersection(interpreter["loaded"][claim])) == [], (
        "a module that is imported at once imports these: annotate hooks with 'Learner' of mmcl.learning.strategy, and "
        "import what builds a model or reads data in the function that does"
    )


def test_in_a_run_the_functions_are_called_as_they_are_written_and_no_checker_is_loaded(
    interpreter: dict[str, Any],
) -> None:
    assert interpreter["wrapped"] == []
    assert {*CHECKS, "avalanche", "jax"}.isdisjoint(interpreter["loaded"]["public maths"])
