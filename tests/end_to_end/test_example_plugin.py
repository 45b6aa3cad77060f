"""The example of a package of somebody else: found by its entry point, treated like MMCL's own strategies."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_strategy_of_somebody_else_is_listed(installed: Command, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(installed(tmp_path, "mmcl", "list", "strategies", "--json").stdout)}
    assert rows["derpp"] == {
        "kind": "strategies",
        "name": "derpp",
        "distribution": "mmcl-der",
        "title": "DER++: dark experience replay.",
        "broken": None,
    }


def test_its_own_tests_pass_in_which_it_keeps_every_promise(
    installed: Command, packages: Mapping[str, Path], tmp_path: Path
) -> None:
    options = ("-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tests'}")
    tested = installed(packages["example"], "python", "-m", "pytest", *options)
    assert tested.returncode == 0, tested.stdout[-5000:]
