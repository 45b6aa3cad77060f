"""Begin the page of a strategy, or say what it lacks: ``python docs/strategies/page.py NAME ...``.

A page that is not there is written with what the code knows; what only a person knows stands there as TODO. A test
holds the pages to what ``missing`` demands.
"""

import re
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

from mmcl.registry import STRATEGIES, Option, card, find

HERE = Path(__file__).parent
OPTIONS = "| option | default | meaning | where the default comes from |\n|---|---|---|---|"
SECTIONS = ("## What it computes", "## Options", "## Deviations", "## Cite", "## Results")
RESULTS = "The commands, seeds and versions behind every number are in [results](../results.md)."
TODO = "TODO"


def facts(name: str) -> list[str]:
    """The rows that say what the strategy declares with its defaults."""
    from mmcl import explain
    from mmcl.build import strategy

    entry, told, built = find(STRATEGIES, name), explain([name]), strategy(name)
    terms = told.terms.get(name, ((), ()))
    kept = built.memory_budget().samples
    return [
        f"| code | `{entry.module}:{entry.attribute}` |",
        f"| takes the slots | {_listed(told.slots)} |",
        f"| needs | {', '.join(need.what for need in told.needs) or 'nothing'} |",
        *([] if built.order == "any" else [f"| learns experiences | {built.order} |"]),
        f"| reads the teachers | {_listed(told.teachers)} |",
        f"| adds to the loss | {_listed(terms[0])} |",
        f"| adds to the gradient | {_listed(terms[1])} |",
        f"| rewrites weights at the end | {'yes' if built.rewrites_weights else 'no'} |",
        f"| keeps in its state | {_listed(told.state.get(name, ()))} |",
        f"| remembers samples | {'without limit' if kept is None else f'at most {kept}' if kept else 'none'} |",
    ]


def option_row(option: Option) -> str:
    """How the row of an option begins."""
    return f"| `{option.name}` | `{option.default}` |"


def missing(name: str, text: str) -> list[str]:
    """What the page of a strategy lacks, a line each."""
    read = card(find(STRATEGIES, name))
    rows = {row.split("`")[1]: row for row in _section(text, "## Options") if row.startswith("| `")}
    found = [f"the row: {row}" for row in facts(name) if row not in text]
    found += [f"the section {section!r}" for section in SECTIONS if f"\n{section}\n" not in text]
    for option in read.options:
        row = rows.get(option.name, "")
        if not row.startswith(option_row(option)):
            found.append(f"the row: {option_row(option)} {_cell(option.comment) or '...'} | ... |")
        elif not all(cell.strip() for cell in row.split("|")[1:-1]):
            found.append(f"something in every cell of the row: {row}")
    known = {option.name for option in read.options}
    found += [f"no row for {gone!r}: the strategy has no such option" for gone in rows if gone not in known]
    return found + ([f"a person: {TODO} is still there"] if TODO in text else [])


def page(name: str) -> str:
    """A page with everything that the code knows."""
    read = card(find(STRATEGIES, name))
    title, _, text = read.text.partition("\n\n")
    parts = {"Deviations": TODO, **_parts(text)}
    outside = ("Paper", "Papers", "Deviations", "Deviation")
    options = [f"{option_row(option)} {_cell(option.comment) or TODO} | {TODO} |" for option in read.options]
    computes = "\n\n".join(f"**{title}.** {text}" for title, text in parts.items() if title not in outside)
    return "\n".join(
        (
            f"# `{name}`: {(title.partition(': ')[2] or title).strip(' .')}\n",
            f"{parts.get('Paper') or parts.get('Papers') or TODO}\n",
            "| | |\n|---|---|",
            *facts(name),
            f"| parity | {TODO} |",
            f"\n## What it computes\n\n{computes}",
            f"\n## Options\n\n{OPTIONS}" if options else "\n## Options\n\nNone.",
            *options,
            f"\n## Deviations\n\n{parts.get('Deviation', parts['Deviations'])}",
            f"\n## Cite\n\n{TODO}",
            f"\n## Results\n\n{RESULTS}\n\n{TODO}",
        )
    )


def _parts(text: str) -> dict[str, str]:
    """The paragraphs of a card by their first word."""
    found = re.split(r"^([A-Z][a-z]+(?: [a-z]+){0,2})((?:, with [^:]*)?):\s", text, flags=re.MULTILINE)
    parts = {}
    for title, clause, part in zip(found[1::3], found[2::3], found[3::3], strict=True):
        said = f"{clause.removeprefix(', ')}: {part}" if clause else part
        parts[title] = (said[:1].upper() + said[1:]).strip().replace("``", "`")
    return parts


def _section(text: str, title: str) -> list[str]:
    return text.partition(f"\n{title}\n")[2].partition("\n## ")[0].splitlines()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def main(names: list[str]) -> None:
    """Write or examine the pages of these strategies."""
    warnings.filterwarnings("ignore", message="no QP solver found")
    for name in names:
        file = HERE / f"{name}.md"
        if not file.exists():
            file.write_text(page(name) + "\n", "utf-8")
        for lack in missing(name, file.read_text("utf-8")):
            print(f"{file.name} needs {lack}")


if __name__ == "__main__":
    main(sys.argv[1:])
