"""Imports point one way, avalanche stays in three files, entry points name files that exist."""

import ast
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from mmcl.registry import GROUPS, STRATEGIES, card, entries

ROOT = Path(__file__).parents[2]
AVALANCHE = {
    "mmcl/streams/experience.py",
    "mmcl/learning/avalanche_plugin.py",
    "mmcl/learning/shell.py",
}
LAYER = {
    "errors": 0,
    "former": 0,
    "escaping": 0,
    "remarks": 0,
    "source": 0,
    "working_directory": 0,
    "import_trial": 0,
    "registry": 0,
    "config": 0,
    "training_config": 0,
    "options": 0,
    "signature": 0,
    "arguments": 0,
    "environment": 0,
    "durable": 0,
    "file_lock": 1,
    "data": 1,
    "models": 2,
    "backbones": 2,
    "evaluation": 3,
    "objectives": 3,
    "streams": 4,
    "learning": 5,
}
TOP = 6


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Modules and names that a file imports at run time, wherever in it; imports for type checking do not count."""
    tree = ast.parse(path.read_text("utf-8"))
    ignored = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(module: str) -> int:
    parts = module.split(".")
    return LAYER.get(parts[1], TOP) if len(parts) > 1 else 0


def third_party(path: Path) -> set[str]:
    found = {module.split(".")[0] for module in imports(path)}
    return found - sys.stdlib_module_names - {"mmcl", "mmcl_strategies", "mmcl_benchmarks"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    return name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("path", files("mmcl"), ids=name)
def test_core_imports_only_its_own_layer_and_those_below(path: Path) -> None:
    own = layer(module_of(path))
    for module in imports(path):
        assert not module.startswith(("mmcl_strategies", "mmcl_benchmarks")), f"{name(path)} imports {module}"
        if module.startswith("mmcl."):
            assert layer(module) <= own, f"{name(path)} (layer {own}) imports {module} (layer {layer(module)})"


def test_no_import_is_relative() -> None:
    for path in files("mmcl", "strategies", "benchmarks"):
        froms = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        assert not any(node.level for node in froms), f"{name(path)}: the other tests here cannot see where it leads"


def test_core_names_no_plugin_package_in_a_string_either() -> None:
    for path in files("mmcl"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not node.value.startswith(("mmcl_strategies", "mmcl_benchmarks")), f"{name(path)}: {node.value}"


@pytest.mark.parametrize("path", [p for p in files("mmcl") if layer(module_of(p)) == 0], ids=name)
def test_the_lowest_layer_needs_nothing_but_toml(path: Path) -> None:
    assert third_party(path) <= {"tomli", "tomli_w"}


def test_models_and_backbones_know_no_streams() -> None:
    for path in files("mmcl/models", "mmcl/backbones"):
        assert not any(module.startswith("mmcl.streams") for module in imports(path)), name(path)


def test_avalanche_is_imported_in_exactly_three_files() -> None:
    every = files("mmcl", "strategies", "benchmarks")
    assert {name(path) for path in every if any(m.split(".")[0] == "avalanche" for m in imports(path))} == AVALANCHE


@pytest.mark.parametrize("path", files("strategies"), ids=name)
def test_strategies_know_neither_benchmarks_nor_backbones_nor_each_other(path: Path) -> None:
    family = f"mmcl_strategies.{path.parent.name}."  # parts of a strategy lie beside it
    strategies = {entry.module for entry in entries(STRATEGIES)}
    for module in imports(path):
        assert not module.startswith(("mmcl_benchmarks", "mmcl.backbones", "mmcl.run", "mmcl.cli")), module
        if module.startswith("mmcl_strategies."):
            shared = ("mmcl_strategies.maths", "mmcl_strategies.routing", family)
            assert module.startswith(shared), f"{name(path)} imports {module}"
            assert not any(f"{module}.".startswith(f"{other}.") for other in strategies), f"{name(path)}: {module}"
    assert third_party(path) <= {"torch", "torchvision", "peft", "sklearn"}


@pytest.mark.parametrize("path", files("benchmarks"), ids=name)
def test_benchmarks_know_neither_learners_nor_models(path: Path) -> None:
    for module in imports(path):
        assert not module.startswith(("mmcl_strategies", "mmcl.learning", "mmcl.models", "mmcl.backbones")), module


def test_open_clip_is_imported_in_its_backbone_where_the_shipped_one_is_made_and_for_its_class_names() -> None:
    every = files("mmcl", "strategies", "benchmarks")
    users = {name(p) for p in every if "open_clip" in third_party(p)}
    assert users == {
        "mmcl/backbones/openclip.py",
        "mmcl/backbones/open_clip_backbone.py",
        "mmcl/backbones/open_clip_config.py",
        "mmcl/backbones/open_clip_model.py",
        "mmcl/backbones/open_clip_plan.py",
        "benchmarks/mmcl_benchmarks/glyphs/pretrain_clip.py",
        "benchmarks/mmcl_benchmarks/imagenet_names.py",
    }


def attributes(path: Path) -> set[str]:
    """Names behind a dot, wherever in a file."""
    return {node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)}


def test_only_backbones_call_a_tower_so_that_no_add_on_is_left_without_its_batch() -> None:
    every = files("mmcl", "strategies", "benchmarks")
    callers = {name(path) for path in every if "encode_tower" in attributes(path)}
    assert callers == {"mmcl/models/backbone.py", "mmcl/backbones/composite.py", "mmcl/testing/models.py"}


def test_no_strategy_names_a_part_of_open_clip_or_transformers() -> None:
    theirs = {
        "visual",
        "transformer",
        "resblocks",
        "ln_1",
        "ln_2",
        "mlp",
        "c_fc",
        "c_proj",
        "attn",
        "text_model",
    }
    assert {name(path): found for path in files("strategies") if (found := attributes(path) & theirs)} == {}


@pytest.mark.parametrize("entry", [entry for group in GROUPS for entry in entries(group)], ids=lambda e: e.name)
def test_entry_points_name_files_with_a_card(entry: object) -> None:
    assert find_spec(entry.module) is not None  # type: ignore[attr-defined]
    read = card(entry)  # type: ignore[arg-type]
    assert read.broken is None
    assert len(read.text) > 60
