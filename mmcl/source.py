"""What the source of a class says, read without importing it: foreign code does not run, and torch is not loaded."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec, resolve_name
from pathlib import Path

UNREADABLE = (ImportError, OSError, SyntaxError, ValueError, RecursionError)


@dataclass(frozen=True)
class Definition:
    """A class where it is written.

    Attributes:
        module: dotted name of the module.
        file: of the module.
        text: of the whole module.
        tree: of the whole module.
        node: of the class.
    """

    module: str
    file: Path
    text: str
    tree: ast.Module
    node: ast.ClassDef

    @property
    def origins(self) -> dict[str, tuple[str, str]]:
        """Name -> module and attribute, of all that the module takes from others."""
        return _origins(self.module, self.file, self.tree)

    @property
    def imports(self) -> Iterator[str]:
        """The modules it imports when it is imported itself, relative ones aside."""
        for statement in self.tree.body:
            if isinstance(statement, ast.Import):
                yield from (alias.name for alias in statement.names)
            elif isinstance(statement, ast.ImportFrom) and statement.level == 0 and statement.module:
                yield statement.module


def definition(module: str, attribute: str) -> Definition:
    """The class ``attribute`` of a module, in the module itself or where it takes the class from.

    Raises:
        ImportError: if there is no such module or class.
        OSError, SyntaxError, ValueError, RecursionError: if a file cannot be read.
    """
    file = _file(module)
    text = file.read_text("utf-8")
    tree = ast.parse(text)
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and statement.name == attribute:
            return Definition(module, file, text, tree, statement)
    origin = _origins(module, file, tree).get(attribute)
    if origin is None:
        raise ImportError(f"module {module} defines no class {attribute}")
    return definition(*origin)


def derives(found: Definition, base: tuple[str, str]) -> bool:
    """Whether a class may be derived from ``base`` (module and name); what the source does not reveal counts as yes."""
    if (found.module, found.node.name) == base:
        return True
    for parent in found.node.bases:
        if not isinstance(parent, ast.Name):
            return True
        try:
            above = definition(*found.origins.get(parent.id, (found.module, parent.id)))
        except UNREADABLE:
            return True
        itself = (above.module, above.node.name) == (found.module, found.node.name)
        if not itself and derives(above, base):
            return True
    return False


def missing_import(found: Definition) -> str | None:
    """The first import of the module that no installed package provides, judged by the first part of its name."""
    return next((name for name in found.imports if find_spec(name.partition(".")[0]) is None), None)


def _origins(module: str, file: Path, tree: ast.Module) -> dict[str, tuple[str, str]]:
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return {
        alias.asname or alias.name: (resolve_name("." * node.level + (node.module or ""), package), alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _file(module: str) -> Path:
    """The file of a module. ``find_spec`` of a dotted name would run the packages above it, so files are looked up."""
    top, *parts = module.split(".")
    if not top:
        raise ImportError("the entry point names no module")
    spec = find_spec(top)
    if spec is not None and not parts and spec.origin is not None:
        return Path(spec.origin)
    if spec is not None and parts:
        for folder in spec.submodule_search_locations or ():
            path = Path(folder, *parts)
            for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
                if file.is_file():
                    return file
    raise ImportError(f"there is no module {module}")
