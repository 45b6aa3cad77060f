"""Pages say what the code says, and their links lead somewhere."""

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from mmcl_benchmarks.mtil.sources import ORIGINS

from mmcl.learning.compose import Need, Slot
from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES, Entry, card, entries
from mmcl.streams.scenario import SCENARIOS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def own(group: str) -> list[Entry]:
    return [entry for entry in entries(group) if entry.distribution == "mmcl"]


def text_of(page: Path) -> str:
    return page.read_text("utf-8") if page.exists() else ""


@pytest.fixture(scope="module")
def strategy_page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("strategy_page", DOCS / "strategies" / "page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("entry", own(STRATEGIES), ids=lambda entry: entry.name)
def test_page_of_a_strategy_is_complete_and_says_what_the_code_says(entry: Entry, strategy_page: ModuleType) -> None:
    page = DOCS / "strategies" / f"{entry.name}.md"
    begin = f"python docs/strategies/page.py {entry.name}"
    assert page.exists(), f"docs/strategies/{entry.name}.md is missing; begin it with: {begin}"
    lacks = strategy_page.missing(entry.name, text_of(page))
    assert not lacks, "\n".join([f"docs/strategies/{entry.name}.md needs", *lacks])


@pytest.mark.parametrize("entry", own(STRATEGIES), ids=lambda entry: entry.name)
def test_strategy_is_in_the_list_of_the_readme(entry: Entry) -> None:
    row = f"| [`{entry.name}`](docs/strategies/{entry.name}.md) |"
    assert row in text_of(ROOT / "README.md"), f"README.md needs the row: {row} ... |"


def test_a_strategy_page_that_is_not_true_is_noticed(strategy_page: ModuleType) -> None:
    text = text_of(DOCS / "strategies" / "lwf.md")
    assert strategy_page.missing("lwf", text) == []
    for true, false, found in (
        ("| `2.0` |", "| `4.0` |", "the row: | `temperature` | `2.0` |"),
        ("| reads the teachers | `previous` |", "", "the row: | reads the teachers | `previous` |"),
        ("| `texts` |", "| `text` |", "no row for 'text'"),
        ("| the authors |", "| |", "something in every cell"),
        ("## Cite", "## To cite", "the section '## Cite'"),
        ("- Z. Li", "TODO", "a person"),
    ):
        lacks = strategy_page.missing("lwf", text.replace(true, false))
        assert any(lack.startswith(found) for lack in lacks), (true, lacks)


@pytest.mark.parametrize("entry", own(STRATEGIES), ids=lambda entry: entry.name)
def test_a_page_that_was_just_begun_lacks_only_what_a_person_knows(entry: Entry, strategy_page: ModuleType) -> None:
    lacks = strategy_page.missing(entry.name, strategy_page.page(entry.name))
    assert lacks == [f"a person: {strategy_page.TODO} is still there"]


@pytest.mark.parametrize("entry", own(BENCHMARKS), ids=lambda entry: entry.name)
def test_page_of_a_benchmark_names_every_option_with_its_default(entry: Entry) -> None:
    text = text_of(DOCS / "benchmarks" / f"{entry.name}.md")
    assert text, f"docs/benchmarks/{entry.name}.md is missing"
    rows = [f"| `{option.name}` | `{option.default}` |" for option in card(entry).options]
    lacks = [row for row in [*rows, f"| code | `{entry.module}:{entry.attribute}` |"] if row not in text]
    assert not lacks, "\n".join([f"docs/benchmarks/{entry.name}.md needs rows that begin", *lacks])


@pytest.mark.parametrize("entry", own(BACKBONES), ids=lambda entry: entry.name)
def test_section_of_a_backbone_names_every_option_with_its_default(entry: Entry) -> None:
    section = text_of(DOCS / "backbones.md").partition(f"\n## `{entry.name}`\n")[2].partition("\n## ")[0]
    assert section, f"docs/backbones.md needs the section: ## `{entry.name}`"
    rows = [f"| `{option.name}` | `{option.default}` |" for option in card(entry).options]
    lacks = [text for text in [*rows, f"`{entry.module}:{entry.attribute}`"] if text not in section]
    assert not lacks, "\n".join([f"docs/backbones.md, section {entry.name}, needs", *lacks])


def test_the_page_of_mtil_has_the_sizes_that_the_reader_expects() -> None:
    text = text_of(DOCS / "benchmarks" / "mtil.md")
    for name, origin in ORIGINS.items():
        (row,) = [line for line in text.splitlines() if f"| {name} |" in line]
        assert f"| `{Path(origin.folder).parts[0]}` |" in row
        assert f"| {origin.sizes[0]:,} | {origin.sizes[1]:,} |" in row


def test_every_slot_need_and_scenario_is_explained() -> None:
    text = text_of(DOCS / "concepts.md")
    words = (
        [slot.name for slot in Slot]
        + [need.name for need in vars(Need).values() if isinstance(need, Need)]
        + list(SCENARIOS)
    )
    assert not [word for word in words if f"| `{word}`" not in text], "docs/concepts.md needs a row for each of these"


def test_the_file_tree_names_every_module_of_the_core() -> None:
    tree = text_of(ROOT / "README.md").partition("```text\n")[2].partition("```")[0].split()
    modules = [path for path in (ROOT / "mmcl").rglob("*.py") if path.name != "__init__.py"]
    missing = [path.relative_to(ROOT).as_posix() for path in modules if not any(map(path.match, tree))]
    assert not missing, f"the file tree in README.md needs {', '.join(missing)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    targets = {target for target in re.findall(r"\]\(([^)#\s]+)", prose) if "://" not in target}
    lost = [target for target in sorted(targets) if not (page.parent / target).exists()]
    assert not lost, f"{page.name} links to {', '.join(lost)}, which is not there"


def defined_in(file: Path) -> set[str]:
    """Classes and functions of a file, and methods as ``Class.method``."""
    top = [node for node in ast.parse(text_of(file)).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    classes = [node for node in top if isinstance(node, ast.ClassDef)]
    methods = {
        f"{node.name}.{part.name}" for node in classes for part in node.body if isinstance(part, ast.FunctionDef)
    }
    return {node.name for node in top} | methods


def test_what_the_tour_names_is_defined_in_the_file_it_links_to() -> None:
    links = re.findall(r"\[`([\w.]+)`\]\((\.\./[^)]+\.py)\)", text_of(DOCS / "tour.md"))
    lost = [f"{name} in {file}" for name, file in links if name not in {*defined_in(DOCS / file), Path(file).name}]
    assert links
    assert not lost, f"docs/tour.md names {', '.join(lost)}, which is not there"
