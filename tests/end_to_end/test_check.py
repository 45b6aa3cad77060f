"""``mmcl check``: a line per promise, exit code 1 if one is broken, 2 if the user erred."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmcl.registry import BACKBONES, STRATEGIES, entries
from mmcl.testing import BACKBONE_CHECKS, STRATEGY_CHECKS
from mmcl.testing.laboratory.setting import CLASS_SETTING

from .command import call

Command = Callable[..., tuple[int, list[str], str]]

BACKBONE = '''"""A backbone that is not there."""

from dataclasses import dataclass
from typing import ClassVar

from mmcl.backbones.openclip import OpenCLIPBackbone, tiny_clip
from mmcl.models.backbone import BackbonePlugin


@dataclass(kw_only=True)
class Deaf(BackbonePlugin):
    """A random CLIP that does not say that it reads texts."""

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})

    def build(self) -> OpenCLIPBackbone:
        return tiny_clip()

    def miniature(self) -> OpenCLIPBackbone:
        return tiny_clip()
'''


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> Iterator[Command]:
    """Runs the command; returns exit code, lines and errors. One scenario is enough here."""
    monkeypatch.setattr("mmcl.testing.laboratory.setting.CLIP_SETTINGS", (CLASS_SETTING,))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, list[str], str]:
        done = call("check", *arguments)
        return done.returncode, done.stdout.splitlines(), done.stderr.replace("\n", " ")

    yield run
    entries.cache_clear()


def test_a_line_says_what_has_become_of_each_promise(check: Command) -> None:
    code, lines, _ = check("glyph-clip")
    assert code == 0
    assert [line.partition(":")[0].split(maxsplit=1)[1] for line in lines[:-1]] == [c.name for c in BACKBONE_CHECKS]
    for line, promise in zip(lines, BACKBONE_CHECKS, strict=False):
        assert line.startswith("skipped  ") or line == f"ok       {promise.name}: {promise.promise}"
    assert lines[-1] == "glyph-clip: 23 ok, 2 skipped, 0 broken"


def test_a_strategy_is_checked_with_its_options(check: Command) -> None:
    code, lines, _ = check("replay:size=4,selection=ring")
    assert code == 0, [line for line in lines if line.startswith("broken")]
    assert len(lines) == len(STRATEGY_CHECKS) + 1
    assert "skipped  slots" not in "\n".join(lines)


def test_a_broken_promise_is_a_sentence_and_exit_code_1(check: Command, tmp_path: Path) -> None:
    (tmp_path / "towers_of_mine.py").write_text(BACKBONE)
    code, lines, _ = check("towers_of_mine:Deaf")
    assert code == 1
    (broken,) = [line for line in lines if line.startswith("broken")]
    assert broken == (
        "broken   modalities: check 'modalities' of backbone 'towers_of_mine:Deaf': it declares ['image'], and specs "
        "has ['image', 'text']. Allowed: what it declares to encode, and to read together, is what its backbone "
        "prepares and its towers read. Let the two say the same."
    )
    assert lines[-1].endswith("1 broken")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["glyph-clop"], "Did you mean 'glyph-clip'?"),
        (["ewc:sample=3"], "Did you mean 'samples'?"),
        (["nowhere.at.all:Thing"], "cannot be imported"),
        (["mmcl.errors:MMCLError"], "MMCLError is no StrategyPlugin"),
        (["ewc", "--kind", "backbone"], "no installed distribution has a backbone of this name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_a_sentence_and_exit_code_2(check: Command, arguments: list[str], sentence: str) -> None:
    code, lines, errors = check(*arguments)
    assert code == 2
    assert lines == []
    assert sentence in errors
    assert "Allowed:" in errors


def test_a_name_that_several_kinds_have_wants_the_kind(
    check: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "twins-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: twins\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        f"[{STRATEGIES}]\ntwin = mmcl_strategies.baselines.finetune:Finetune\n"
        f"[{BACKBONES}]\ntwin = mmcl.backbones.openclip:GlyphCLIP\n"
    )
    entries.cache_clear()
    code, _, errors = check("twin")
    assert code == 2
    assert "there is a strategy and a backbone of this name" in errors
    assert "--kind" in errors
    code, lines, _ = check("twin", "--kind", "backbone")
    assert code == 0
    assert len(lines) == len(BACKBONE_CHECKS) + 1
