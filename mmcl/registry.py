"""Registry: names of strategies, benchmarks and backbones, from the entry points of all installed distributions.

Looking names up and reading their cards imports no plugin. MMCL's own plugins come in through the same door.
"""

import ast
import inspect
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import Distribution, distributions
from operator import attrgetter
from pathlib import Path
from textwrap import dedent
from typing import Any

from mmcl.errors import PluginError, nearest
from mmcl.former import moved, remedy_for
from mmcl.source import UNREADABLE, definition, derives, missing_import
from mmcl.working_directory import admit

STRATEGIES = "mmcl.strategies"
BENCHMARKS = "mmcl.benchmarks"
BACKBONES = "mmcl.backbones"
GROUPS = (STRATEGIES, BENCHMARKS, BACKBONES)
_KINDS = {STRATEGIES: "strategy", BENCHMARKS: "benchmark", BACKBONES: "backbone"}
UNKNOWN = "unknown"  # the name of a distribution that does not say it
BASES: Mapping[str, tuple[str, str]] = {
    STRATEGIES: ("mmcl.learning.strategy", "StrategyPlugin"),
    BENCHMARKS: ("mmcl.streams.benchmark", "BenchmarkPlugin"),
    BACKBONES: ("mmcl.models.backbone.plugin", "BackbonePlugin"),
}


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
        """The name that nobody else has, ``distribution:name``."""
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
    found = {(distribution, name): (module, attribute) for distribution, name, module, attribute in _points(group)}
    claims = Counter(name for _, name in found)
    return tuple(
        Entry(group, name, distribution, *target, claims[name] > 1)
        for (distribution, name), target in sorted(found.items(), key=lambda item: (item[0][1], item[0][0]))
    )


def kind_of(group: str) -> str:
    """``strategy``, ``benchmark`` or ``backbone``."""
    return _KINDS[group]


def find(group: str, name: str) -> Entry:
    """The entry of ``name`` or ``distribution:name``.

    Raises:
        PluginError: if there is none, or several distributions claim the plain name.
    """
    kind = kind_of(group)
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
        remedy=_own_data(name) if group == BENCHMARKS and _is_place(name) else nearest(name, names),
    )


def is_registered(group: str, name: str) -> bool:
    """Whether an installed distribution has registered ``name`` or ``distribution:name``."""
    return any(name in (entry.name, entry.qualified) for entry in entries(group))


def load(group: str, name: str) -> Any:
    """The class that a name stands for: a registered name, ``distribution:name`` or ``package.module:Class``.

    Raises:
        PluginError: if it cannot be found or imported or is no plugin of this group; the sentence says whose it is.
    """
    if ":" in name and not is_registered(group, name):
        who = f"plugin {name!r}"
        plugin = load_by_name(name, who)
    else:
        entry = find(group, name)
        who = f"plugin {name!r} of distribution {entry.distribution}"
        remedy = "Repair or uninstall the distribution; other plugins are not affected."
        plugin = _import(entry.module, entry.attribute, who, remedy)
    _check_kind(group, plugin, who)
    return plugin


def load_by_name(name: str, who: str) -> Any:
    """What ``package.module:Class`` stands for; the module is installed or in the working directory.

    Args:
        name: as the user typed it.
        who: what the user typed it for.

    Raises:
        PluginError: if it cannot be imported.
    """
    module, _, attribute = name.partition(":")
    admit(module)
    return _import(module, attribute, who, "Check the spelling; the module is installed or in the working directory.")


def name_of(group: str, plugin: type) -> str:
    """The name under which a class can be loaded again."""
    for entry in entries(group):
        if (entry.module, entry.attribute) == (plugin.__module__, plugin.__qualname__):
            return entry.qualified if entry.shared else entry.name
    return f"{plugin.__module__}:{plugin.__qualname__}"


def card(entry: Entry) -> Card:
    """The module docstring and the fields of a plugin, read from its source without importing it.

    What can be seen there is reported as broken: a missing module, class or import, and a class of another kind. What
    shows only when the module runs, ``load`` finds.
    """
    kind = BASES[entry.group]
    try:
        found = definition(entry.module, entry.attribute)
        if (absent := missing_import(found)) is not None:
            former = moved(absent)
            why = "which is not installed" if former is None else f"which is gone. {former}"
            raise ImportError(f"module {found.module} imports {absent}, {why}")
        if not derives(found, kind):
            raise ImportError(f"class {entry.attribute} is no {kind[1]}")
    except UNREADABLE as error:
        return Card(broken=f"{type(error).__name__}: {error}")
    text = ast.get_docstring(found.tree) or ast.get_docstring(found.node) or ""
    if entry.group == BACKBONES:
        text = ast.get_docstring(found.node) or text
    return Card(text, tuple(_options(found.node, found.text.splitlines())))


def options_of(imported: type) -> tuple[Option, ...]:
    """The fields of a class that is in memory, as its source says them; none if there is no source to read."""
    try:
        source = dedent(inspect.getsource(imported))
        node = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError):
        return ()
    return tuple(_options(node, source.splitlines())) if isinstance(node, ast.ClassDef) else ()


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


def _import(module: str, attribute: str, who: str, remedy: str) -> Any:
    try:
        return attrgetter(attribute)(import_module(module))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(
            who,
            found=f"{module}:{attribute} cannot be imported ({type(error).__name__}: {error})",
            allowed="a class that can be imported",
            remedy=remedy_for(error) or remedy,
        ) from error


def base_of(group: str) -> Any:
    """The class that all plugins of a group derive from."""
    module, name = BASES[group]
    return getattr(import_module(module), name)


def _check_kind(group: str, plugin: Any, who: str) -> None:
    """Refuse what is no complete plugin of the group."""
    module, name = BASES[group]
    base = base_of(group)
    allowed = f"a class derived from {module}.{name}"
    if not isinstance(plugin, type) or not issubclass(plugin, base):
        found = f"{plugin.__qualname__} is no {name}" if isinstance(plugin, type) else f"{plugin!r} is not a class"
        raise PluginError(who, found=found, allowed=allowed, remedy=f"Name a class that derives from {name}.")
    missing = sorted(
        {*getattr(plugin, "__abstractmethods__", ()), *(n for n in base.__annotations__ if not hasattr(plugin, n))}
    )
    if missing:
        raise PluginError(
            who,
            found=f"{plugin.__qualname__} lacks {', '.join(missing)}",
            allowed=f"{allowed}, with all that it asks for",
            remedy=f"Add {missing[0]} to the class.",
        )


def _is_place(name: str) -> bool:
    """Whether somebody has named data where a benchmark is expected."""
    return os.path.exists(name) or Path(name).name != name or Path(name).suffix.lower() == ".csv"


def _own_data(place: str) -> str:
    return (
        f"Own data are the benchmark 'own': 'mmcl run own --data {place}'; in Python "
        f"mmcl.benchmark('own', data_root={place!r})."
    )


def _points(wanted: str) -> Iterator[tuple[str, str, str, str]]:
    """Distribution, name, module and class of every entry point in a group.

    Read as text: importlib refuses the entry points of all distributions for one malformed line.
    """
    met: set[str] = set()
    for distribution in distributions():
        text = _entry_points(distribution)
        owner = _owner(distribution) if f"[{wanted}]" in text else ""
        if not owner or owner in met - {UNKNOWN}:
            continue  # of two installations of a distribution Python imports the first
        met.add(owner)
        group = ""
        for line in (line.partition("#")[0].strip() for line in text.splitlines()):
            if line.startswith("["):
                group = line.strip("[] ")
            elif line and group == wanted:
                name, _, target = line.partition("=")
                module, _, attribute = target.partition("[")[0].partition(":")
                yield owner, name.strip(), module.strip(), attribute.strip()


def _owner(distribution: Distribution) -> str:
    """Its name; what an interrupted installation leaves behind may have none."""
    try:
        return distribution.metadata["Name"] or UNKNOWN
    except (KeyError, TypeError):
        return UNKNOWN


def _entry_points(distribution: Distribution) -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except UnicodeDecodeError:
        return ""
