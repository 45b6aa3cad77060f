"""What the README shows works as it is shown."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_python_example_runs(embedded_mtil: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), scope)
    assert scope["result"].matrix.shape == (3, 2)  # type: ignore[attr-defined]
    assert (tmp_path / "runs" / "zscl+replay" / "results.json").is_file()


def test_the_file_tree_names_every_module_of_the_core() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    modules = [path for path in (ROOT / "mmcl").rglob("*.py") if path.name != "__init__.py"]
    missing = [path.relative_to(ROOT).as_posix() for path in modules if path.name not in text]
    assert not missing
