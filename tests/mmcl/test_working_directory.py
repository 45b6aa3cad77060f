"""The working directory: what a user names is found there, with its imports, and nothing that a library looks for."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmcl.errors import PluginError
from mmcl.registry import load_by_name
from mmcl.working_directory import location

OPTIONAL = ("pynvml", "gmpy2", "pandas", "lz4", "cython", "colorama", "brotli", "numba", "xarray", "defusedxml", "gmpy")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_is_found_with_what_it_imports_and_nothing_else(here: Path) -> None:
    (here / "mine_1.py").write_text("import mine_helper\nfrom mine_package.part import VALUE\nclass X: value = VALUE\n")
    (here / "mine_helper.py").write_text("def later():\n    import mine_late\n    return mine_late.ONE\n")
    (here / "mine_late.py").write_text("ONE = 1\n")
    (here / "mine_other.py").write_text("raise AssertionError('nobody asked for it')\n")
    (here / "mine_package").mkdir()
    (here / "mine_package" / "__init__.py").write_text("")
    (here / "mine_package" / "part.py").write_text("from mine_package.deep import VALUE\n")
    (here / "mine_package" / "deep.py").write_text("VALUE = 7\n")
    assert load_by_name("mine_1:X", "test").value == 7
    import mine_helper  # type: ignore[import-not-found]

    assert mine_helper.later() == 1  # a function may import when it is called
    with pytest.raises(ModuleNotFoundError):
        import mine_other  # type: ignore[import-not-found]  # noqa: F401
    assert str(here) not in sys.path


def test_the_files_of_a_module_that_has_been_imported_are_not_read_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "mine_6.py").write_text("class X: pass\n")
    first = load_by_name("mine_6:X", "test")
    (here / "mine_6.py").unlink()
    monkeypatch.setattr("mmcl.working_directory._closure", None)
    assert load_by_name("mine_6:X", "test") is first


def test_what_is_installed_goes_before_what_lies_here(here: Path) -> None:
    (here / "mine_2.py").write_text("import numpy\nclass X: module = numpy\n")
    (here / "numpy.py").write_text("raise AssertionError('not this one')\n")
    assert load_by_name("mine_2:X", "test").module.__name__ == "numpy"


def test_a_module_that_cannot_be_parsed_says_so_itself(here: Path) -> None:
    (here / "mine_3.py").write_text("import mine_broken\n")
    (here / "mine_broken.py").write_text("def (")
    with pytest.raises(PluginError, match=r"mine_3:X cannot be imported \(SyntaxError"):
        load_by_name("mine_3:X", "test")


@pytest.mark.parametrize(
    "text", ["raise SystemExit(3)", "import sys; sys.exit(0)", "raise BaseException('odd')", "raise GeneratorExit"]
)
def test_an_import_that_tries_to_end_the_program_gets_a_sentence(here: Path, text: str) -> None:
    name = f"mine_exit_{abs(hash(text))}"
    (here / f"{name}.py").write_text(text)
    with pytest.raises(PluginError, match=f"{name}:X cannot be imported"):
        load_by_name(f"{name}:X", "test")


@pytest.mark.parametrize("name", [":X", "mine_4:", "..:X", "a b:X", "mine_4:X.y.z", "os:path:X", "mine\0:X"])
def test_a_name_that_is_none_gets_a_sentence(here: Path, name: str) -> None:
    (here / "mine_4.py").write_text("class X: pass\n")
    with pytest.raises(PluginError, match="cannot be imported"):
        load_by_name(name, "test")


def test_the_place_of_a_module_is_known_without_importing_it(here: Path) -> None:
    (here / "mine_5.py").write_text("raise AssertionError\n")
    assert Path(location("mine_5")) == here / "mine_5.py"
    assert Path(location("mmcl.registry")).name == "__init__.py"
    assert location("mine_nowhere.part") == ""


def test_no_command_takes_an_optional_module_from_the_working_directory(tmp_path: Path) -> None:
    for name in OPTIONAL:
        (tmp_path / f"{name}.py").write_text(f"open('ran-{name}', 'w')\n")
    done = subprocess.run(
        [sys.executable, "-m", "mmcl", "check", "finetune_of_nobody:X"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(place for place in sys.path if place)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "finetune_of_nobody" in done.stderr
    assert not list(tmp_path.glob("ran-*"))
