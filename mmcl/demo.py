"""``mmcl demo``: plain fine-tuning and ZSCL on the embedded MTIL stream, and what happened, in two sentences."""

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from mmcl.config import PluginConfig, RunConfig
from mmcl.console import make_console, say_on
from mmcl.evaluation.score_table import ScoreTable
from mmcl.results import RunResult
from mmcl.running import run_config

STRATEGIES = ("finetune", "zscl")


def demo(
    out: Path | None = None, seed: int = 0, training: Mapping[str, Any] | None = None, progress: str = "auto"
) -> None:
    """Run both strategies below ``out``, by default the first free of ``runs/demo``, ``runs/demo-2``, ...

    Args:
        out: the folder for both runs.
        seed: every random choice follows from it.
        training: settings other than the edition's own.
        progress: as in ``mmcl.run``.

    Raises:
        CheckpointError: if ``out`` holds earlier runs.
    """
    out = out or next(folder for folder in _folders() if not folder.exists())
    console = make_console()
    results = {}
    for name in STRATEGIES:
        say_on(console, f"embedded MTIL, glyph-clip, {name}", style="bold")
        results[name] = run_config(
            RunConfig(
                benchmark=PluginConfig("mtil", {"embedded": True}),
                backbone=PluginConfig("glyph-clip"),
                strategies=(PluginConfig(name),),
                training=dict(training or {}),
                seed=seed,
                out=str(out / name),
            ),
            progress=progress,
        )
    console.print(comparison(results, seed))
    for sentence in explanation(results, out):
        say_on(console, sentence)


def _folders() -> Iterator[Path]:
    yield Path("runs/demo")
    yield from (Path(f"runs/demo-{number}") for number in count(2))


def comparison(results: dict[str, RunResult], seed: int) -> ScoreTable:
    """Zero-shot and both strategies, with MTIL's three scores."""
    before = results[STRATEGIES[0]].result_matrix.zero_shot
    # an untrained model has the same score in every row: Transfer is its mean over all but the first column
    rows = {"zero-shot": (float(before[1:].mean()), float(before.mean()), float(before.mean()))}
    for name, result in results.items():
        transfer, avg, last = (result.summary[score] or 0.0 for score in ("transfer", "avg", "last"))
        rows[name] = (transfer, avg, last)
    return ScoreTable(
        title=f"embedded MTIL, glyph-clip, seed {seed}",
        descriptions=[""],
        scores=("Transfer", "Avg", "Last"),
        rows=[[name, *(f"{value:.1f}" for value in values)] for name, values in rows.items()],
    )


def explanation(results: dict[str, RunResult], out: Path) -> list[str]:
    """What the numbers are, what just happened, and what to type next."""
    before = float(results["finetune"].result_matrix.zero_shot[1:].mean())
    plain, kept = (float(results[name].summary["transfer"] or 0.0) for name in STRATEGIES)
    return [
        "(embedded edition: not the official benchmark's numbers)",
        f"Learning eleven data sets one after the other, plain fine-tuning lost {before - plain:.1f} points of "
        f"zero-shot skill on the data sets still to come; ZSCL lost {before - kept:.1f}.",
        f"Next: open {out / 'zscl' / 'report.md'}, or run 'mmcl compare {out}/*', or try another strategy: "
        "'mmcl run mtil --embedded --strategy ewc'.",
    ]
