"""Trust: who has named the code that a configuration runs.

What a user types runs. What a file names runs if an installed distribution has registered it; anything else could be
code that somebody has put beside the file, and is imported only with ``--trust``. Who has typed a name for a run
folder, or has trusted it, need not say so again: that is noted in the cache, which no folder from elsewhere reaches.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmcl.arguments import parse_tower
from mmcl.config import IN_MEMORY, PluginConfig, RunConfig, read_toml
from mmcl.data.cache import cache_dir
from mmcl.errors import PluginError
from mmcl.options import names_a_class, names_backbones
from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES, is_registered, load
from mmcl.working_directory import location


def require_trusted(config: RunConfig, who: str, folder: Path, trust: bool = False) -> None:
    """Refuse to import what a file names, unless it is registered, loaded already, or trusted.

    Args:
        config: as the file says it.
        who: the file, for the sentence.
        folder: in which it lies; what is trusted there is noted.
        trust: whether the user has said so.

    Raises:
        PluginError: naming the class and where it would come from.
    """
    if trust:
        note_trust(config, folder)
        return
    for name in _unregistered(config):
        if name.partition(":")[0] not in sys.modules and not _note(name, folder).exists():
            raise PluginError(
                who,
                found=f"it names {name!r}, which no installed distribution has registered and whose code would run, "
                f"from {location(name.partition(':')[0]) or 'nowhere: there is no such module'}",
                allowed="registered names; with --trust (trust=True in Python) every name",
                remedy=f"Read that code; if you trust it and {folder}, say --trust, once.",
            )


def trusted_toml(path: Path, trust: bool = False) -> RunConfig:
    """A configuration file that names no code, or code that may run.

    Raises:
        ConfigError: if it cannot be read.
        PluginError: if it names code that may not run.
    """
    config = read_toml(path)
    require_trusted(config, f"configuration {path}", path.parent, trust)
    return config


def note_trust(config: RunConfig, folder: Path) -> None:
    """Remember that the user has named or trusted what a configuration in a folder imports."""
    for name in _unregistered(config):
        with suppress(OSError):  # without a note the user is asked again
            note = _note(name, folder)
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()


def _unregistered(config: RunConfig) -> Iterator[str]:
    """What would be imported by name alone."""
    yield from _imported(BENCHMARKS, config.benchmark)
    yield from _imported(BACKBONES, config.backbone)
    for strategy in config.strategies:
        yield from _imported(STRATEGIES, strategy)


def _imported(group: str, plugin: PluginConfig) -> Iterator[str]:
    if not is_registered(group, plugin.name):
        if ":" in plugin.name and not plugin.name.startswith(IN_MEMORY):
            yield plugin.name
        return
    named = {option: texts for option, value in plugin.options.items() if (texts := _with_colons(value))}
    if named:
        kind = load(group, plugin.name)
        for option, texts in named.items():
            if names_a_class(kind, option):
                yield from texts
            if names_backbones(kind, option):
                for text in texts:
                    yield from _imported(BACKBONES, parse_tower(text))


def _with_colons(value: Any) -> list[str]:
    """The texts in a value that may name a class."""
    if isinstance(value, (list, tuple)):
        return [text for inner in value for text in _with_colons(inner)]
    return [value] if isinstance(value, str) and ":" in value else []


def _note(name: str, folder: Path) -> Path:
    """A file in the cache that stands for this code, as it is found today, in this folder."""
    said = "\n".join((name, location(name.partition(":")[0]), str(folder.resolve())))
    return cache_dir() / "trusted" / sha256(said.encode("utf-8", "surrogateescape")).hexdigest()
