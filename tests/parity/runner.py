"""Finds golden vectors below a folder and runs the check of their method.

``MMCL_PARITY_DIR`` names the folder (default: ``data`` beside this file). The name of a file's folder is its method.
A folder with an unknown name and a folder without a file are failures, so nothing passes by being overlooked.
"""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np

from . import cases
from .case import Case, Parity

DATA = Path(__file__).parent / "data"
PATTERN = "case_*.npz"


def directory() -> Path:
    """Where the golden vectors lie."""
    return Path(os.environ.get("MMCL_PARITY_DIR") or DATA).resolve()


def registry() -> dict[str, Parity]:
    """Method name -> its check, from every module in ``cases``."""
    known: dict[str, Parity] = {}
    for module in iter_modules(cases.__path__):
        known |= import_module(f"{cases.__name__}.{module.name}").PARITY
    return known


def collect(root: Path) -> list[Path]:
    """Every file of golden vectors below ``root``, and every folder that should hold one but does not."""
    files = sorted(root.rglob(PATTERN))
    holding = {parent for file in files for parent in file.parents}
    folders = [path for path in sorted(root.rglob("*")) if path.is_dir() and not path.name.startswith((".", "__"))]
    empty = [folder for folder in folders if folder not in holding]
    return files + empty if files or empty else [root]


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def run(path: Path, known: Mapping[str, Parity]) -> dict[str, float]:
    """Check one file in every precision of its method and return the largest deviation per array."""
    assert path.is_file(), f"{path} holds no {PATTERN}: no golden vectors to check"
    method = path.parent.name
    assert method in known, f"no check is known for '{method}' ({path}); known methods: {', '.join(sorted(known))}"
    arrays = read(path)
    worst: dict[str, float] = {}
    for precision, tolerance in known[method].tolerances.items():
        case = Case(arrays, precision, tolerance)
        known[method].check(case)
        assert case.worst, f"the check of '{method}' compared nothing"
        worst |= {f"{name} [{precision}]".replace("torch.", ""): error for name, error in case.worst.items()}
    return worst
