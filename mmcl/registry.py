"""Registry: names of strategies, benchmarks and backbones, from the entry points of all installed distributions.

Looking names up and reading their cards imports no plugin. MMCL's own plugins come in through the same door.
"""

import ast
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmcl.errors import PluginError, nearest

STRATEGIES = "mmcl.strategies"
BENCHMARKS = "mmcl.benchmarks"
BACKBONES = "mmcl.backbones"
GROUPS = (STRATEGIES, BENCHMARKS, BACKBONES)


@dataclass(frozen=True)
class Entry:
    """One registered plugin.

    Attributes:
        name: as its distribution registered it.
        distribution: who registered it.
        module: where the class is.
        attribute: name of the class.
        shared: whether another distribution claims the same name, so that use needs ``qualified``.
    """

    group: str
    name: str
    distribution: str
    module: str
    attribute: str
    shared: bool = False

    @property
    def qualified(self) -> str:
        """``distribution:name``."""
        return f"{self.distribution}:{self.name}"


@dataclass(frozen=True)
class Option:
    """One field of a plugin class, as its source says it."""

    name: str
    kind: str
    default: str
    comment: str


@dataclass(frozen=True)
class Card:
    """What a plugin's source says about it; ``broken`` is the reason if it cannot be read."""

    text: str = ""
    options: Sequence[Option] = field(default_factory=tuple)
    broken: str | None = None

    @property
    def title(self) -> str:
        """First line of the card."""
        return self.text.strip().splitlines()[0] if self.text.strip() else ""


@cache
def entries(group: str) -> tuple[Entry, ...]:
    """All plugins of a group, sorted by name."""
    found = {(_distribution(point), point.name): _target(point) for point in entry_points(group=group)}
    claims = Counter(name for _, name in found)
    return tuple(
        Entry(group, name, distribution, *target, claims[name] > 1)
        for (distribution, name), target in sorted(found.items(), key=lambda item: (item[0][1], item[0][0]))
    )


def find(group: str, name: str) -> Entry:
    """The entry of ``name`` or ``distribution:name``.

    Raises:
        PluginError: if there is none, or several distributions claim the plain name.
    """
    kind = group.removeprefix("mmcl.").rstrip("s").replace("strategie", "strategy")
    matches = [entry for entry in entries(group) if name in (entry.name, entry.qualified)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise PluginError(
            f"{kind} {name!r}",
            found=f"several distributions claim this name: {', '.join(entry.distribution for entry in matches)}",
            allowed=" or ".join(entry.qualified for entry in matches),
            remedy="Use the qualified name.",
        )
    names = [entry.name for entry in entries(group)]
    raise PluginError(
        f"{kind} {name!r}",
        found=f"no installed distribution has a {kind} of this name",
        allowed=f"one of {', '.join(names)}, or package.module:Class",
        remedy=nearest(name, names),
    )


def load(group: str, name: str) -> Any:
    """The class that a name stands for: a registered name, ``distribution:name`` or ``package.module:Class``.

    Raises:
        PluginError: if it cannot be found or imported; the sentence says whose it is and why.
    """
    module, _, attribute = name.partition(":")
    if attribute and not any(name == entry.qualified for entry in entries(group)):
        return _import(module, attribute, name, "Check the spelling, and that Python finds the module.")
    entry = find(group, name)
    remedy = "Repair or uninstall the distribution; other plugins are not affected."
    return _import(entry.module, entry.attribute, f"{name!r} of distribution {entry.distribution}", remedy)


def name_of(group: str, plugin: type) -> str:
    """The name under which a class can be loaded again."""
    for entry in entries(group):
        if (entry.module, entry.attribute) == (plugin.__module__, plugin.__qualname__):
            return entry.qualified if entry.shared else entry.name
    return f"{plugin.__module__}:{plugin.__qualname__}"


def card(entry: Entry) -> Card:
    """The module docstring and the fields of a plugin, read from its source without importing it."""
    try:
        source = _source(entry.module)
        tree = ast.parse(source)
    except (ImportError, OSError, SyntaxError, ValueError) as error:
        return Card(broken=f"{type(error).__name__}: {error}")
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == entry.attribute]
    if not classes:
        return Card(broken=f"module {entry.module} defines no class {entry.attribute}")
    text = ast.get_docstring(tree) or ast.get_docstring(classes[0]) or ""
    if entry.group == BACKBONES:
        text = ast.get_docstring(classes[0]) or text
    return Card(text, tuple(_options(classes[0], source.splitlines())))


def _options(node: ast.ClassDef, lines: list[str]) -> list[Option]:
    options = []
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name, kind = statement.target.id, ast.unparse(statement.annotation)
        if name.startswith("_") or name == "state" or "ClassVar" in kind:
            continue
        line = lines[(statement.end_lineno or statement.lineno) - 1]
        default = "" if statement.value is None else ast.unparse(statement.value)
        comment = line[statement.end_col_offset or 0 :].partition("#")[2].strip()
        options.append(Option(name, kind, default, comment))
    return options


def _source(module: str) -> str:
    """The text of a module. ``find_spec`` of a dotted name would run the packages above it, so files are looked up."""
    top, *parts = module.split(".")
    spec = find_spec(top)
    if spec is not None and not parts and spec.origin is not None:
        return Path(spec.origin).read_text("utf-8")
    if spec is not None and parts:
        for folder in spec.submodule_search_locations or ():
            path = Path(folder, *parts)
            for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
                if file.is_file():
                    return file.read_text("utf-8")
    raise ImportError(f"there is no module {module}")


def _import(module: str, attribute: str, who: str, remedy: str) -> Any:
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:
        raise PluginError(
            f"plugin {who}",
            found=f"{module}:{attribute} cannot be imported ({type(error).__name__}: {error})",
            allowed="a class that can be imported",
            remedy=remedy,
        ) from error
    if not isinstance(found, type):
        raise PluginError(
            f"plugin {who}",
            found=f"{module}:{attribute} is not a class",
            allowed="a class",
            remedy="Name a class.",
        )
    return found


def _target(point: EntryPoint) -> tuple[str, str]:
    """Module and class; taken from the text, because a malformed entry point raises when it is asked for them."""
    module, _, attribute = point.value.partition(":")
    return module.strip(), attribute.partition("[")[0].strip()


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"
