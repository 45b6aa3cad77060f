"""``mmcl new``: careful with names and folders, complete in the wheel."""

from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.build import build_wheel
from typer.testing import CliRunner

from mmcl.cli import app
from mmcl.errors import ConfigError
from mmcl.scaffold.package import GROUP_OF, TEMPLATES, new_package

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", GROUP_OF)
def test_a_new_package_is_complete_and_has_no_placeholder_left(kind: str, tmp_path: Path) -> None:
    folder = new_package(kind, "my_idea-2", tmp_path / "deep" / "down")
    assert folder == tmp_path / "deep" / "down" / "mmcl-my-idea-2"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files >= {
        "pyproject.toml",
        "README.md",
        "src/mmcl_my_idea_2/__init__.py",
        f"src/mmcl_my_idea_2/{kind}.py",
        "tests/test_conformance.py",
        "tests/parity/case_1.npz",
        "tests/parity/make_case.py",
        "tests/parity/test_parity.py",
    }
    assert not any("PACKAGE" in name or name.endswith(".template") for name in files)
    for name in files - {"tests/parity/case_1.npz"}:
        assert "$" not in (folder / name).read_text("utf-8"), name
    assert f'my_idea-2 = "mmcl_my_idea_2.{kind}:MyIdea2"' in (folder / "pyproject.toml").read_text("utf-8")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("My Idea", "cannot be the name"),
        ("1st", "cannot be the name"),
        ("idea-", "cannot be the name"),
        ("../idea", "cannot be the name"),
        ("x" * 31, "cannot be the name"),
        ("ewc", "mmcl has a strategy of this name"),
        ("strategies", "a package mmcl_strategies is installed"),
        ("state", "would be called State"),
        ("strategy-plugin", "would be called StrategyPlugin"),
        ("none", "would be called None"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=sentence) as refusal:
        new_package("strategy", name, tmp_path)
    assert refusal.value.allowed
    assert refusal.value.remedy
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mmcl-idea").mkdir()
    with pytest.raises(ConfigError, match="it exists"):
        new_package("strategy", "idea", tmp_path)
    assert not list((tmp_path / "mmcl-idea").iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        new_package("strategy", "idea", tmp_path / "file")


def test_the_command_says_what_to_do_next(tmp_path: Path) -> None:
    outcome = CliRunner().invoke(app, ["new", "benchmark", "idea", "--dir", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    assert "mmcl check idea" in outcome.stdout
    assert (tmp_path / "mmcl-idea" / "pyproject.toml").is_file()


def test_the_wheel_holds_every_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    wheel = tmp_path / build_wheel(str(tmp_path))
    templates = {path.relative_to(ROOT).as_posix() for path in TEMPLATES.rglob("*") if path.is_file()}
    assert templates
    assert templates <= set(ZipFile(wheel).namelist())
