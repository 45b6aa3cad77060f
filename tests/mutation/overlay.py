"""Overlay: a module imported from a text instead of from its file."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType


class _Text(SourceFileLoader):
    """Loads a given text in place of a file; no byte code is read or written.

    The loader of the file makes code of it, which adds checks of shapes where those of the file would be checked.
    """

    def __init__(self, file: SourceFileLoader, text: str) -> None:
        super().__init__(file.name, file.path)
        self.file, self.text = file, text

    def get_code(self, fullname: str) -> CodeType:
        return self.file.source_to_code(self.text.encode(), self.path)


class Overlay(importlib.abc.MetaPathFinder):
    """Finds one module, as the other finders would, and leaves all others to them."""

    def __init__(self, module: str, text: str) -> None:
        self.module, self.text = module, text

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if fullname != self.module:
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(spec for spec in others if spec is not None)
        assert isinstance(spec.loader, SourceFileLoader)
        spec.loader = _Text(spec.loader, self.text)
        return spec


def install(module: str, text: str) -> None:
    """Let ``module``, which nobody has imported yet, be made of ``text``."""
    assert module not in sys.modules, f"{module} has been imported before"
    sys.meta_path.insert(0, Overlay(module, text))
