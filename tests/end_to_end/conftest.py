"""A fresh installation, as a stranger has it."""

import os
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mmcl.scaffold.package import GROUP_OF, new_package

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "example_plugin"
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """By kind, what ``mmcl new`` has written, called ``fresh-KIND``; and a copy of the example."""
    folder = tmp_path_factory.mktemp("packages")
    made = {kind: new_package(kind, f"fresh-{kind}", folder) for kind in GROUP_OF}
    return {**made, "example": Path(shutil.copytree(EXAMPLE, folder / "example"))}


@pytest.fixture(scope="session")
def installed(packages: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Command:
    """Runs a command, in a folder, of one environment into which MMCL and all packages have been installed.

    Libraries come from the environment of the tests, so that nothing is fetched.
    """
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, symlinks=True)
    (place,) = environment.glob("lib/python*/site-packages")
    (place / "libraries.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def run(folder: Path, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [environment / "bin" / command, *arguments],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "MMCL_CACHE": str(cache)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    editable = [part for package in (ROOT, *packages.values()) for part in ("--editable", str(package))]
    done = run(environment, "python", "-m", "pip", "install", *options, *editable)
    assert done.returncode == 0, done.stderr
    return run
