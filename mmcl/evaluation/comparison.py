"""Comparison: runs side by side, with intervals over seeds and paired tests against one of them.

Runs that differ in nothing but the seed share a row. Rows on the same test sets stand together, and
are tested against the first of them or one that is named.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from typing import Any

from mmcl.errors import ConfigError, nearest
from mmcl.escaping import latex, markdown, plain
from mmcl.evaluation.markdown_table import markdown_table
from mmcl.evaluation.report import UNMISTAKABLE, WITHOUT_EFFECT, Results, headlines, strategies_label
from mmcl.evaluation.score_table import ScoreTable
from mmcl.evaluation.statistics import LEVEL, half_width, holm, mean, paired_p

COMPARED = ("Transfer", "Avg", "Last", "Forgetting")
# where scenarios are mixed, only words that mean the same in all of them
COMPARED_ACROSS = ("ACC", "AIA", "Forgetting", "BWT")
COSTS = ("trained", "added", "stored MiB")


@dataclass(frozen=True)
class Score:
    """One score of a row.

    Attributes:
        by_seed: seed -> score; seeds without one are absent.
        p: of the paired test against the reference row, corrected for the rows tested; ``None`` where there is no test.
    """

    by_seed: Mapping[int, float]
    p: float | None = None

    @property
    def mean(self) -> float | None:
        """Over the seeds; ``None`` without any."""
        return mean(list(self.by_seed.values()))

    @property
    def half_width(self) -> float | None:
        """Of Student's interval; ``None`` for fewer than two seeds."""
        return half_width(list(self.by_seed.values()))

    def __str__(self) -> str:
        """``mean ± half width (p ...)``, as far as they are known."""
        if self.mean is None:
            return "-"
        spread = "" if self.half_width is None else f" ± {self.half_width:.1f}"
        return f"{self.mean:.1f}{spread}" + ("" if self.p is None else f" (p {p_value(self.p)})")


@dataclass(frozen=True)
class Row:
    """Runs that differ in nothing but the seed.

    Attributes:
        facts: what they have in common, by the name of its column.
        tested_on: stands for the test sets: only rows that share them are tested against each other.
        seeds: in the order in which they were handed over.
        scores: by the word that papers use.
        costs: parameters that the last experience trained, those that an experience adds in the mean, and what is kept
            in the end, as means over the seeds; ``None`` where runs have not written it down.
    """

    facts: Mapping[str, str]
    tested_on: str
    seeds: tuple[int, ...]
    scores: Mapping[str, Score]
    costs: Mapping[str, float | None]

    @property
    def cells(self) -> list[str]:
        """What a table shows."""
        return [
            *self.facts.values(),
            ", ".join(map(str, self.seeds)),
            str(len(self.seeds)),
            *map(str, self.scores.values()),
            *(_cost(name, value) for name, value in self.costs.items()),
        ]


@dataclass(frozen=True)
class Comparison:
    """Rows of runs, those on the same test sets together, else in the order in which they were met.

    Attributes:
        rows: what is compared.
        caption: what has to be said about editions and tests.
    """

    rows: tuple[Row, ...]
    caption: str

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        return [*self.rows[0].facts, "seeds", "n", *self._numbers]

    @property
    def _numbers(self) -> list[str]:
        return [*self.rows[0].scores, *self.rows[0].costs]

    def table(self) -> ScoreTable:
        """The comparison as a table for the terminal."""
        return ScoreTable(
            title=f"mean ± half of the {100 * LEVEL:.0f} % interval over seeds",
            descriptions=self.header[: -len(self._numbers)],
            scores=self._numbers,
            rows=[row.cells for row in self.rows],
            caption=self.caption,
        )

    def _repr_markdown_(self) -> str:
        """What a notebook shows."""
        return self.markdown()

    def markdown(self) -> str:
        """A table in Markdown with the caption below it."""
        return "\n".join([*markdown_table(self.header, [row.cells for row in self.rows]), "", markdown(self.caption)])

    def latex(self) -> str:
        """A ``tabular`` with the rules of ``booktabs``."""
        lines = [
            f"% {plain(self.caption)}",
            rf"\begin{{tabular}}{{{'l' * (len(self.header) - len(self._numbers))}{'r' * len(self._numbers)}}}",
            r"\toprule",
            _latex_row(self.header),
            r"\midrule",
            *(_latex_row(row.cells) for row in self.rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
        return "\n".join(lines)

    def records(self) -> list[dict[str, Any]]:
        """One plain dictionary for every row and score, with all digits."""
        return [
            {
                **row.facts,
                "seeds": list(row.seeds),
                "score": word,
                "n": len(score.by_seed),
                "mean": score.mean,
                "half_width": score.half_width,
                "p": score.p,
                **row.costs,
            }
            for row in self.rows
            for word, score in row.scores.items()
        ]

    def csv(self) -> str:
        """``records`` as a table of commas, with all digits."""
        text = io.StringIO()
        records = [{**record, "seeds": " ".join(map(str, record["seeds"]))} for record in self.records()]
        writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return text.getvalue()

    def json(self) -> str:
        """The text of ``records`` as JSON."""
        return json.dumps(self.records(), indent=1, allow_nan=False)


def compare_results(runs: Sequence[Results], against: str | None = None) -> Comparison:
    """Runs side by side: runs that differ in nothing but the seed share a row.

    Where training settings, experiences, scenario or data differ, the column ``settings`` says how; ``n`` is the number
    of runs. A single one has no interval. Every row is tested against the reference among those on the same test sets.

    Args:
        runs: contents of ``results.json``.
        against: strategies of the reference, as the table names them; by default the first row on the same test sets.

    Raises:
        ConfigError: if there is no run, two do not even differ in the seed, or no row is called ``against``.
    """
    if not runs:
        raise ConfigError("comparison", found="no runs", allowed="one or more", remedy="Name some run folders.")
    words = COMPARED if len({run["scenario"] for run in runs}) == 1 else COMPARED_ACROSS
    rows = _rows(runs, words)
    names = list(dict.fromkeys(row.facts["strategies"] for row in rows))
    if against is not None and against not in names:
        raise ConfigError(
            "comparison",
            found=f"no row of the strategies {against!r} to test against",
            allowed=", ".join(names),
            remedy=nearest(against, names),
        )
    blocks: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        blocks[row.tested_on].append(row)
    tested = list(chain.from_iterable(_tested(block, against) for block in blocks.values()))
    return Comparison(tuple(tested), _caption(runs, tested, against))


def p_value(p: float) -> str:
    """As it is printed: three decimals, and never 0."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _rows(runs: Sequence[Results], words: Sequence[str]) -> list[Row]:
    all_settings = [_settings(run) for run in runs]
    keys = sorted({key for settings in all_settings for key in settings})
    varying = [key for key in keys if len({settings.get(key, "-") for settings in all_settings}) > 1]
    groups: dict[tuple[str, ...], list[Results]] = defaultdict(list)
    for run, settings in zip(runs, all_settings, strict=True):
        facts = [run["benchmark"], run["edition"], run["backbone"], strategies_label(run)]
        facts += [", ".join(f"{name}={settings.get(name, '-')}" for name in varying)] if varying else []
        groups[tuple(facts)].append(run)
    names = ["benchmark", "edition", "backbone", "strategies", *(["settings"] if varying else [])]
    rows = []
    for key, group in groups.items():
        seeds = tuple(run["seed"] for run in group)
        _require_distinct(seeds, ", ".join(key))
        scores = {word: Score(_by_seed(group, word)) for word in words}
        costs = [_costs(run) for run in group]
        means = {name: mean([cost[name] for cost in costs if name in cost]) for name in COSTS}
        rows.append(Row(dict(zip(names, key, strict=True)), _tested_on(group[0]), seeds, scores, means))
    return rows


def _tested(block: Sequence[Row], against: str | None) -> list[Row]:
    """Rows on the same test sets, each but the reference with its tests against it."""
    reference = next((row for row in block if against in (None, row.facts["strategies"])), None)
    if reference is None:
        return list(block)
    scores: dict[str, list[Score]] = {}
    for word, base in reference.scores.items():
        found = [None if row is reference else paired_p(row.scores[word].by_seed, base.by_seed) for row in block]
        corrected = [replace(row.scores[word], p=p) for row, p in zip(block, holm(found), strict=True)]
        scores[word] = corrected
    return [replace(row, scores={word: scores[word][i] for word in scores}) for i, row in enumerate(block)]


def _caption(runs: Sequence[Results], rows: Sequence[Row], against: str | None) -> str:
    sentences = []
    if any(score.p is not None for row in rows for score in row.scores.values()):
        reference = "the first row on the same test sets" if against is None else against
        sentences.append(f"p: paired t-test by seed against {reference}, Holm's correction over the rows of a score")
    if editions := sorted({run["edition"] for run in runs} - UNMISTAKABLE):
        sentences.append(f"{', '.join(editions)} editions: not the official benchmarks' numbers")
    return "; ".join(sentences)


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(latex, cells)) + r" \\"


def _require_distinct(seeds: Sequence[int], what: str) -> None:
    twice = [seed for seed in dict.fromkeys(seeds) if seeds.count(seed) > 1]
    if twice:
        raise ConfigError(
            f"comparison of {what}",
            found=f"{seeds.count(twice[0])} runs with seed {twice[0]}, which are one run several times",
            allowed="runs that differ in their settings or their seed",
            remedy="Leave all but one of them out; a run again with the same seed says nothing about the spread.",
        )


def _settings(run: Results) -> dict[str, str]:
    """What may change the numbers of a run besides its seed, its strategies and its backbone."""
    training = {name: str(value) for name, value in run["training"].items() if name not in WITHOUT_EFFECT}
    return {
        **training,
        "experiences": " ".join(run["columns"]),
        "scenario": run["scenario"],
        "plugins": " ".join(run.get("plugins", ())),
        "data": _fingerprint(run),
    }


def _tested_on(run: Results) -> str:
    return json.dumps([run["benchmark"], run["edition"], run["scenario"], run["columns"], _fingerprint(run)])


def _fingerprint(run: Results) -> str:
    """Stands for the samples, their split and their order, as far as the benchmark records them."""
    if "data" in run:
        return str(run["data"])
    metadata = run.get("metadata", {})
    recorded = {name: metadata.get(name) for name in ("convention", "digest")}
    return sha256(json.dumps(recorded).encode()).hexdigest()[:8]


def _costs(run: Results) -> dict[str, float]:
    """By the names of ``COSTS``; nothing of a run that has not written it down."""
    rows = [row for row in run.get("parameters", {}).get("per_experience", ()) if isinstance(row, Mapping)]
    if not rows:
        return {}
    values = (rows[-1]["trained"], sum(row["added"] for row in rows) / len(rows), rows[-1]["bytes"] / 2**20)
    return dict(zip(COSTS, values, strict=True))


def _cost(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if name.endswith("MiB") else f"{value:,.0f}"


def _by_seed(group: Sequence[Results], word: str) -> dict[int, float]:
    found = {run["seed"]: headline(run, word) for run in group}
    return {seed: score for seed, score in found.items() if score is not None}


def headline(run: Results, word: str) -> float | None:
    """The score that the run's scenario knows by a word; ``None`` where it is undefined."""
    name = next(name for name, known in headlines(run).items() if known == word)
    score: float | None = run["summary"][name]
    return score
