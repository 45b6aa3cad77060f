"""Imports point one way and go in no circle, files are small, entry points name files that exist."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
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


@cache
def named(path: Path) -> tuple[str, ...]:
    """What import statements of a file name, wherever in it and for whatever purpose: ``a.b`` or ``a.b.name``."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return (*modules, *(f"{node.module}.{alias.name}" for node in froms for alias in node.names))


def imports(path: Path) -> Iterator[str]:
    """Modules and names that a file imports; imports for type checking count as any other."""
    for full in named(path):
        yield from (full, full.rpartition(".")[0] or full)


def layer(module: str) -> int:
    if module == "mmcl":  # the names for users, each loaded when it is used
        return TOP
    parts = module.split(".")
    return LAYER.get(parts[1], TOP) if len(parts) > 1 else 0


def third_party(path: Path) -> set[str]:
    found = {module.split(".")[0] for module in imports(path)}
    return found - sys.stdlib_module_names - {"mmcl", "mmcl_strategies", "mmcl_benchmarks"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    for root in ("strategies/", "benchmarks/"):
        path = ROOT / name(path).removeprefix(root)
    return name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def circle(without: tuple[str, str]) -> list[str]:
    """Files that import each other in a ring, each the next one, if there are any; one import does not count."""
    modules = {module_of(path): path for path in files("mmcl", "strategies", "benchmarks")}
    found = {
        module: {full if full in modules else full.rpartition(".")[0] for full in named(path)} & modules.keys()
        for module, path in modules.items()
    }
    importer, imported = without
    assert imported in found[importer], f"{importer} no longer imports {imported}: no pair is left to be named"
    found[importer].remove(imported)
    try:
        TopologicalSorter(found).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


LEARNER, STRATEGY = "mmcl.learning.learner", "mmcl.learning.strategy"


@pytest.mark.parametrize("arrow", [(LEARNER, STRATEGY), (STRATEGY, LEARNER)], ids=" to ".join)
def test_the_only_circle_of_files_are_the_learner_and_the_strategies_that_it_hands_itself_to(
    arrow: tuple[str, str],
) -> None:
    # a circle that leaves out one of the two imports is another circle
    assert circle(without=arrow) == []


@pytest.mark.parametrize("path", files("mmcl"), ids=name)
def test_no_file_of_the_core_has_more_than_four_hundred_lines(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


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


@pytest.mark.parametrize(("room", "others"), [("toy", ("laboratory", "promises")), ("laboratory", ("promises",))])
def test_toys_know_no_laboratory_and_the_laboratory_no_promise(room: str, others: tuple[str, ...]) -> None:
    found = {name(path): set(imports(path)) for path in files(f"mmcl/testing/{room}")}
    assert found
    for path, modules in found.items():
        assert not any(module.startswith(f"mmcl.testing.{other}") for module in modules for other in others), path


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
        assert not module.startswith(("mmcl_benchmarks", "mmcl.backbones", "mmcl.running", "mmcl.cli")), module
        if module.startswith("mmcl_strategies."):
            shared = ("mmcl_strategies.maths", "mmcl_strategies.routing", "mmcl_strategies.shared", family)
            assert module.startswith(shared), f"{name(path)} imports {module}"
            assert not any(f"{module}.".startswith(f"{other}.") for other in strategies), f"{name(path)}: {module}"
    assert third_party(path) <= {"torch", "jaxtyping", "torchvision", "safetensors", "peft", "sklearn"}


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
        "benchmarks/mmcl_benchmarks/formats/imagenet_names.py",
    }


def attributes(path: Path) -> set[str]:
    """Names behind a dot, wherever in a file."""
    return {node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)}


def test_only_backbones_call_a_tower_so_that_no_add_on_is_left_without_its_batch() -> None:
    every = files("mmcl", "strategies", "benchmarks")
    callers = {name(path) for path in every if "encode_tower" in attributes(path)}
    assert callers == {"mmcl/models/backbone/backbone.py", "mmcl/backbones/composite.py", "mmcl/testing/toy/models.py"}


def test_no_strategy_names_a_part_of_open_clip_or_transformers() -> None:
    theirs = {
        *("visual", "transformer", "resblocks", "conv1", "positional_embedding", "class_embedding", "text_projection"),
        *("encode_image", "encode_text"),
        *("ln_pre", "ln_1", "ln_2", "ln_post", "ln_final", "ls_1", "ls_2", "mlp", "c_fc", "c_proj", "attn"),
        *("text_model", "vision_model", "text_encoder", "text_decoder", "self_attn"),
        *("q_proj", "k_proj", "v_proj", "query_key_value", "crossattention", "last_hidden_state", "pooler_output"),
    }
    assert {name(path): found for path in files("strategies") if (found := attributes(path) & theirs)} == {}


@pytest.mark.parametrize("entry", [entry for group in GROUPS for entry in entries(group)], ids=lambda e: e.name)
def test_entry_points_name_files_with_a_card(entry: object) -> None:
    assert find_spec(entry.module) is not None  # type: ignore[attr-defined]
    read = card(entry)  # type: ignore[arg-type]
    assert read.broken is None
    assert len(read.text) > 60
