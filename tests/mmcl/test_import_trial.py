"""Imports that end the process, raise what nobody expects or never end: broken, with a reason, and harmless."""

from pathlib import Path

import pytest

from mmcl.import_trial import broken_imports
from mmcl.registry import STRATEGIES, Entry

HOSTILE = {
    "ends": ("import os; os._exit(7)", "its import ends the process, with code 7"),
    "leaves": ("import sys; sys.exit()", "SystemExit"),
    "interrupts": ("raise KeyboardInterrupt", "its import raises KeyboardInterrupt"),
    "odd": ("class Odd(BaseException): pass\nraise Odd('so')", "Odd: so"),
    "asks": ("print('noise'); input()", "EOFError"),
    "fails": ("raise RuntimeError('out of order')", "out of order"),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "with code -11"),
}


def distribution(folder: Path, modules: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[Entry]:
    """Somebody's distribution with a strategy in each module."""
    info = folder / "hostile-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    points = "".join(f"{name} = hostile_{name}:X\n" for name in modules)
    (info / "entry_points.txt").write_text(f"[{STRATEGIES}]\n{points}")
    for name, text in modules.items():
        (folder / f"hostile_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    return [Entry(STRATEGIES, name, "hostile", f"hostile_{name}", "X") for name in modules]


def test_every_hostile_import_is_broken_with_its_own_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = distribution(tmp_path, {name: text for name, (text, _) in HOSTILE.items()}, monkeypatch)
    reasons = {entry.name: reason for entry, reason in broken_imports(found).items()}
    assert reasons.keys() == HOSTILE.keys()
    for name, (_, said) in HOSTILE.items():
        assert said in reasons[name]


def test_an_import_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = distribution(tmp_path, {"loops": "while True: pass"}, monkeypatch)
    assert broken_imports([entry], seconds=5) == {entry: "its import has not ended after 5 seconds"}


def test_nothing_is_tried_where_nothing_is_asked() -> None:
    assert broken_imports([]) == {}
