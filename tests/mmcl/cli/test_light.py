"""What the command line prints without running anything."""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import mmcl
from mmcl.cli import app
from mmcl.errors import CompositionError
from mmcl.registry import STRATEGIES, entries
from mmcl.remarks import Remark, sentence_or


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose import fails loudly, with brackets in its card and its types."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "stranger-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        f"[{STRATEGIES}]\nfancy = stranger.fancy:Fancy\ngone = stranger.gone:Gone\nodd = [no] module\n"
    )
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "stranger" / "fancy.py").write_text(
        '"""Fancy: logits [b, n]."""\n\nfrom mmcl.learning.strategy import StrategyPlugin\n\n\n'
        "class Fancy(StrategyPlugin):\n    names: tuple[str, ...] = ()  # globs [a] of names\n"
    )
    entries.cache_clear()
    monkeypatch.setattr("mmcl.cli.terminal.output.width", 200)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    entries.cache_clear()


@pytest.mark.usefixtures("stranger")
def test_strangers_are_listed_without_being_imported_and_broken_ones_with_their_reason() -> None:
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)}
    assert (rows["fancy"]["title"], rows["fancy"]["broken"]) == ("Fancy: logits [b, n].", None)
    assert rows["gone"]["distribution"] == "stranger"
    assert "there is no module stranger.gone" in rows["gone"]["broken"]
    assert rows["odd"]["broken"]
    assert rows["ewc"]["broken"] is None
    assert "stranger" not in sys.modules


@pytest.mark.usefixtures("stranger")
def test_brackets_in_cards_and_types_are_printed_as_they_are() -> None:
    assert "logits [b, n]" in CliRunner().invoke(app, ["list", "strategies"]).stdout
    shown = CliRunner().invoke(app, ["show", "fancy"]).stdout
    for text in ("logits [b, n]", "tuple[str, ...]", "globs [a] of names"):
        assert text in shown


def test_a_remark_is_a_line_without_the_place_in_the_source_that_said_it() -> None:
    line = sentence_or(warnings.formatwarning)
    assert line(Remark("few samples"), Remark, "run.py", 7) == "note: few samples\n"
    assert "run.py:7: UserWarning: odd" in line(UserWarning("odd"), UserWarning, "run.py", 7)


def json_of(*arguments: str) -> Any:
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0, outcome.output
    return json.loads(outcome.stdout)


def test_cards_and_explanations_are_there_as_json() -> None:
    (card,) = json_of("show", "zscl", "--json")
    assert card["kind"] == "strategies"
    assert {"name": "temperature", "default": "2.0"}.items() <= next(
        option for option in card["options"] if option["name"] == "temperature"
    ).items()
    assert card["text"]
    explained = json_of("explain", "ewc", "zscl", "--json")
    assert explained["strategies"] == ["ewc", "zscl"]
    assert explained["refusal"] is None
    assert "after_training_exp" in explained["hooks"]


def test_a_refused_composition_is_told_in_json_and_ends_as_without() -> None:
    outcome = CliRunner().invoke(app, ["explain", "icarl", "joint", "--json"])
    assert isinstance(outcome.exception, CompositionError)
    assert json.loads(outcome.stdout)["refusal"] == str(outcome.exception)


@pytest.mark.parametrize("command", [command.name for command in get_command(app).commands.values()])  # type: ignore[attr-defined]
def test_every_command_has_both_forms_of_help(command: str) -> None:
    short, long = (CliRunner().invoke(app, [command, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.stdout == long.stdout


@pytest.mark.parametrize(
    ("command", "default"),
    [("run", "0"), ("suite", "all"), ("compare", "the first row"), ("predict", "the run's")],
)
def test_help_says_defaults_that_are_no_values_in_words(command: str, default: str) -> None:
    shown = CliRunner().invoke(app, [command, "-h"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).stdout
    assert f"[default: ({default})]" in " ".join(shown.replace("\u2502", " ").split())


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"mmcl {mmcl.__version__}\n"


def test_a_shell_completes_commands_and_names() -> None:
    def offered(words: str, position: int) -> list[str]:
        environment = {"_MMCL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position)}
        return CliRunner().invoke(app, prog_name="mmcl", env=environment).stdout.split()

    assert offered("mmcl resu", 1) == ["resume"]
    assert {"ewc", "ewch", "ewc_plus_plus"} <= set(offered("mmcl run mtil --strategy ew", 4))
    assert offered("mmcl run cifar", 2) == ["cifar100"]
    assert offered("mmcl run mtil --backbone gl", 4) == ["glyph-clip"]


INSTALLED = {"bash": {".bashrc", ".bash_completions/mmcl.sh"}, "zsh": {".zshrc", ".zfunc/_mmcl"}}


@pytest.mark.parametrize("shell", INSTALLED)
def test_completion_is_shown_and_installed_and_nothing_else_is_printed(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # the shell of whoever runs the tests
    shown, installed = (
        CliRunner().invoke(app, [option, shell], prog_name="mmcl")
        for option in ("--show-completion", "--install-completion")
    )
    assert (shown.exit_code, installed.exit_code) == (0, 0)
    written = {
        path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert set(written) == INSTALLED[shell]
    assert shown.stdout.strip() in {content.strip() for content in written.values()}
    assert len(installed.stdout.splitlines()) == 2
