"""Docstrings say what a thing is: nobody should have to read the code to know what its description is about."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("mmcl", "strategies/mmcl_strategies", "benchmarks/mmcl_benchmarks")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LEAST = 4  # words


def terse(source: str) -> Iterator[str]:
    """Functions and classes whose docstrings are too short to name a thing and say something of it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            said = ast.get_docstring(node)
            if said is not None and len(said.split()) < LEAST:
                yield f"line {node.lineno}, {node.name}: {said!r}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_docstring_is_too_short_to_say_something(package: str) -> None:
    found = {path: list(terse(path.read_text("utf-8"))) for path in FILES if path.is_relative_to(ROOT / package)}
    assert found
    assert {str(path.relative_to(ROOT)): lines for path, lines in found.items() if lines} == {}


def test_a_terse_docstring_is_found_wherever_it_stands() -> None:
    source = 'class A:\n    """A thing of use."""\n\n    def f(self):\n        """One."""\n'
    assert list(terse(source)) == ["line 4, f: 'One.'"]
