"""A new package from the templates beside this file.

``common`` and the folder of the kind are laid over each other. Text files end in ``.template``, hold ``$placeholders``
and lose the ending; everything else is copied. ``PACKAGE`` in a path stands for the package's name.
"""

import ast
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from string import Template

from mmcl import __version__
from mmcl.errors import ConfigError
from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES, entries

TEMPLATES = Path(__file__).parent / "templates"
GROUP_OF: Mapping[str, str] = {"strategy": STRATEGIES, "benchmark": BENCHMARKS, "backbone": BACKBONES}
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_LONGEST = 30


def new_package(kind: str, name: str, folder: Path) -> Path:
    """Write the distribution ``mmcl-NAME`` into ``folder``; it appears complete or not at all.

    Args:
        kind: ``strategy``, ``benchmark`` or ``backbone``.
        name: what users will type, such as ``my-idea``.
        folder: where the new folder goes; made if need be.

    Returns:
        The new folder.

    Raises:
        ConfigError: if the name cannot be used, is taken, or the new folder exists or cannot be written.
    """
    words = _words(kind, name)
    target = folder / words["distribution"]
    if target.exists():
        raise ConfigError(
            f"{target}",
            found="it exists",
            allowed="a folder that does not exist yet",
            remedy="Choose another name or --dir, or move the old folder away.",
        )
    files = dict(_rendered(kind, words))
    _check_class_name(files, kind, words)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=folder))
        try:
            for path, content in files.items():
                (draft / path).parent.mkdir(parents=True, exist_ok=True)
                (draft / path).write_bytes(content)
            draft.chmod(0o755)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"{target}",
            found=f"it cannot be written ({error.strerror})",
            allowed="a writable folder",
            remedy="Choose another --dir.",
        ) from error
    return target


def _words(kind: str, name: str) -> dict[str, str]:
    """What the placeholders stand for."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigError(
            f"{kind} {name!r}",
            found="it cannot be the name of a package and of a plugin",
            allowed=f"at most {_LONGEST} lower-case letters, digits, '-' and '_', as in my-idea",
            remedy="Choose another name.",
        )
    taken = [entry.distribution for entry in entries(GROUP_OF[kind]) if entry.name == name]
    package = "mmcl_" + name.replace("-", "_")
    if taken or find_spec(package) is not None:
        raise ConfigError(
            f"{kind} {name!r}",
            found=f"{taken[0]} has a {kind} of this name" if taken else f"a package {package} is installed",
            allowed="a name that is not taken",
            remedy="Choose another name, or uninstall the other package.",
        )
    parts = re.split("[-_]", name)
    return {
        "name": name,
        "kind": kind,
        "group": GROUP_OF[kind],
        "distribution": "mmcl-" + name.replace("_", "-"),
        "package": package,
        "class_name": "".join(part.capitalize() for part in parts),
        "title": " ".join(parts).capitalize(),
        "version": __version__,
    }


def _rendered(kind: str, words: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Path below the new folder and content of every file."""
    for layer in (TEMPLATES / "common", TEMPLATES / kind):
        for file in sorted(path for path in layer.rglob("*") if path.is_file()):
            path = file.relative_to(layer).as_posix().replace("PACKAGE", words["package"])
            if path.endswith(".template"):
                text = Template(file.read_text("utf-8")).substitute(words)
                yield path.removesuffix(".template"), text.encode()
            else:
                yield path, file.read_bytes()


def _check_class_name(files: Mapping[str, bytes], kind: str, words: Mapping[str, str]) -> None:
    """Refuse a name whose class would hide something that its module imports or defines."""
    tree = ast.parse(files[f"src/{words['package']}/{kind}.py"]) if not iskeyword(words["class_name"]) else None
    bound = [node.name for node in tree.body if isinstance(node, ast.ClassDef)] if tree else []
    for node in tree.body if tree else ():
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound += [alias.asname or alias.name for alias in node.names]
    if bound.count(words["class_name"]) != 1:
        raise ConfigError(
            f"{kind} {words['name']!r}",
            found=f"its class would be called {words['class_name']}, which already means something else",
            allowed="a name whose class is new, as MyIdea is for my-idea",
            remedy="Choose a longer name.",
        )
