"""Overlay: a module imported from a text instead of from its file."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType


class _Text(SourceFileLoader):
    """Loads a given text under the name and path of the file it stands for; no byte code is read or written."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.text, self.path, "exec", dont_inherit=True)


class Overlay(importlib.abc.MetaPathFinder):
    """Finds one module, and leaves all others to the finders behind it."""

    def __init__(self, module: str, text: str) -> None:
        self.module, self.text = module, text

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if fullname != self.module:
            return None
        spec = PathFinder.find_spec(fullname, path)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Text(fullname, spec.origin, self.text)
        return spec


def install(module: str, text: str) -> None:
    """Let ``module``, which nobody has imported yet, be made of ``text``."""
    assert module not in sys.modules, f"{module} has been imported before"
    sys.meta_path.insert(0, Overlay(module, text))
