"""docs/avalanche.md: its tables leave nothing out and are true. Its examples are run with those of all pages."""

from pathlib import Path

import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets, with_classes_timeline
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.core import BasePlugin
from avalanche.training import plugins
from avalanche.training.supervised import Naive
from torch import nn
from torch.utils.data import TensorDataset

import mmcl
from mmcl.errors import MMCLError
from mmcl.registry import STRATEGIES, entries

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "avalanche.md").read_text("utf-8")


def test_every_plugin_of_avalanche_is_in_the_table() -> None:
    known = {
        name
        for name, value in vars(plugins).items()
        if isinstance(value, type) and issubclass(value, BasePlugin) and value.__module__.startswith(plugins.__name__)
    }
    assert len(known) > 20
    missing = {name for name in known if f"`{name}`" not in PAGE}
    assert not missing


@pytest.mark.parametrize("name", [entry.name for entry in entries(STRATEGIES) if entry.distribution == "mmcl"])
def test_the_table_says_what_becomes_of_a_strategy_in_naive(name: str) -> None:
    rows = {
        line.split("`")[1]: line for line in PAGE.partition("## Strategies of MMCL")[2].splitlines() if "| `" in line
    }
    outcome = in_naive(name)
    row = f"| `{name}` | {outcome.partition(':')[0]}"
    assert rows.get(name, "").startswith(row), f"docs/avalanche.md needs the row {row} ... ({outcome})"


def in_naive(name: str) -> str:
    """``yes`` if a strategy learns two experiences of plain tensors in ``Naive``, else the refusal."""
    generator = torch.Generator().manual_seed(0)
    stream = []
    for classes in ((0, 1), (2, 3)):
        targets = torch.tensor(classes).repeat(4)
        data = TensorDataset(torch.randn(8, 1, 4, 4, generator=generator), targets)
        data.targets = targets.tolist()  # type: ignore[attr-defined]
        stream.append(as_classification_dataset(data))
    benchmark = with_classes_timeline(benchmark_from_datasets(train=stream, test=stream))
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4))
    with pytest.warns(UserWarning, match="No loggers"):
        silent = plugins.EvaluationPlugin()
    try:
        naive = Naive(
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
            train_mb_size=4,
            plugins=[mmcl.AvalanchePlugin(mmcl.strategy(name))],
            evaluator=silent,
        )
        for experience in benchmark.train_stream:
            naive.train(experience)
    except MMCLError as refusal:
        return f"refused: {refusal}"
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())
    return "yes"
