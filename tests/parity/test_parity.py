"""Every file of golden vectors agrees with the library's own functions."""

from pathlib import Path

import numpy as np
import pytest

from .runner import collect, directory, registry, run

KNOWN = registry()


def identity(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}" if path.suffix else path.name


@pytest.mark.parametrize("path", collect(directory()), ids=identity)
def test_library_agrees_with_golden_vectors(path: Path) -> None:
    run(path, KNOWN)


def test_unknown_method_fails_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "no_such_method"
    folder.mkdir()
    np.savez(folder / "case_1.npz", x=np.zeros(2))
    (found,) = collect(tmp_path)
    with pytest.raises(AssertionError, match="no check is known for 'no_such_method'"):
        run(found, KNOWN)


def test_folder_without_cases_fails(tmp_path: Path) -> None:
    (tmp_path / "ewc").mkdir()
    (found,) = collect(tmp_path)
    with pytest.raises(AssertionError, match="holds no"):
        run(found, KNOWN)


def test_missing_folder_fails(tmp_path: Path) -> None:
    (found,) = collect(tmp_path / "absent")
    with pytest.raises(AssertionError, match="holds no"):
        run(found, KNOWN)
