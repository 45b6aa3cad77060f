"""Fresh installations, as a stranger has them."""

import os
import subprocess
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def install(tmp_path: Path, cache: Path) -> Callable[[Path], Command]:
    """Installs MMCL and a package into an empty environment; returns what runs a command of it.

    Libraries come from the environment of the tests, so that nothing is fetched.
    """
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def run(command: str, *arguments: str, cwd: Path = tmp_path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [environment / "bin" / command, *arguments],
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "MMCL_CACHE": str(cache)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def installed(package: Path) -> Command:
        options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
        done = run("python", "-m", "pip", "install", *options, "--editable", str(ROOT), "--editable", str(package))
        assert done.returncode == 0, done.stderr
        return run

    return installed
