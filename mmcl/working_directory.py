"""Modules in the working directory: found for the one that a user has named, and for what that one imports itself.

``sys.path`` never holds the working directory: libraries look for dozens of optional modules by name, and a file that
happens to lie where a command is called must not answer.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True)
class Admitted(MetaPathFinder):
    """Finds a few top-level modules in a folder; asked after everything that is installed."""

    folder: Path
    names: frozenset[str]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Modules within an admitted package are found by the package."""
        if path is not None or fullname not in self.names:
            return None
        return PathFinder.find_spec(fullname, [str(self.folder)], target)


def admit(module: str) -> None:
    """From now on a module of the working directory can be imported, with those that its import statements name."""
    top = module.partition(".")[0]
    if top in sys.modules:
        return  # whoever has imported it finds the rest; reading hundreds of files again would take seconds
    folder = Path.cwd()
    names = _closure(folder, top)
    finder = Admitted(folder, names)
    if names and finder not in sys.meta_path:
        sys.meta_path.append(finder)


def location(module: str) -> str:
    """Where a module would be imported from, the working directory included; empty if nowhere. Nothing is imported."""
    spec = PathFinder.find_spec(module.partition(".")[0], [*sys.path, str(Path.cwd())])
    if spec is None:
        return ""
    return spec.origin or next(iter(spec.submodule_search_locations or ()), "")


def _closure(folder: Path, top: str) -> frozenset[str]:
    """The module and all that it imports, directly or not, as far as they lie in the folder."""
    found: set[str] = set()
    waiting = [top]
    while waiting:
        name = waiting.pop()
        if name not in found and (files := _files(folder, name)):
            found.add(name)
            waiting.extend(imported for file in files for imported in _imports(file))
    return frozenset(found)


def _files(folder: Path, name: str) -> list[Path]:
    module, package = folder / f"{name}.py", folder / name
    if not name.isidentifier():
        return []
    return sorted(package.rglob("*.py")) or [file for file in (module,) if file.is_file()]


def _imports(file: Path) -> Iterator[str]:
    """Top-level names that a file imports anywhere; a file that cannot be read says itself why when it is imported."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
