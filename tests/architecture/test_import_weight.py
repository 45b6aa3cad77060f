"""Naming, showing and explaining imports none of the packages with which models are built and data are read."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = {"avalanche", "open_clip", "peft", "scipy", "sklearn", "timm", "torchvision", "transformers", "wandb"}
CHILD = f"""
import json, sys
import mmcl
from mmcl.cli import app
from typer.testing import CliRunner

loaded = {{}}

def note(claim):
    loaded[claim] = sorted({HEAVY} & {{name.partition(".")[0] for name in sys.modules}})

def invoke(*arguments):
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0, outcome.output
    note(" ".join(arguments))

import mmcl.learning.strategy
note("import mmcl.learning.strategy")
invoke("list")
invoke("show", "zscl")
invoke("explain", "ewc")
invoke("explain", "zscl", "--benchmark", "mtil", "--backbone", "glyph-clip")
from mmcl.registry import GROUPS, entries, load
for group in GROUPS:
    for entry in entries(group):
        load(group, entry.name)
note("load every plugin")
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Claim -> heavy packages that are loaded once it has been made; one child for all of them."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"}
    )
    found: dict[str, list[str]] = json.loads(child.stdout)
    return found


@pytest.mark.parametrize(
    "claim",
    [
        "import mmcl.learning.strategy",
        "list",
        "show zscl",
        "explain ewc",
        "explain zscl --benchmark mtil --backbone glyph-clip",
        "load every plugin",
    ],
)
def test_what_declares_loads_no_package_that_builds(claim: str, loaded: dict[str, list[str]]) -> None:
    assert loaded[claim] == [], (
        "a module that is imported at once imports these: annotate hooks with 'Learner' of mmcl.learning.strategy, and "
        "import what builds a model or reads data in the function that does"
    )
