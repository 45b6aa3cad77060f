"""Result matrices against sums written out, and label spaces against a dictionary."""

import json
import math
import random
from typing import Any

import torch

from mmcl.data.label_space import MOST_ID, ClassLabel, LabelSpace
from mmcl.evaluation.result_matrix import ResultMatrix

from .ledger import Ledger

SCORES = (0.0, 1.0, 50.0, 100.0, 33.333333333333336, 1e-300, -5.0)
IDS = (0, 1, 2, 7, 300, MOST_ID, MOST_ID + 1, -1, -2, 10**9, 10**30, 1.0, 0.5, True, None, "1", float("nan"))


def fuzz_matrices(count: int, chance: random.Random) -> Ledger:
    """Random matrices with gaps: summaries equal sums written out, and JSON gives the matrix back."""
    ledger = Ledger("result matrices")
    for number in range(count):
        columns, rows = chance.randint(1, 7), chance.randint(0, 7)
        gaps = chance.choice((0.0, 0.0, 0.2, 0.9))
        scores = [[_score(chance, gaps) for _ in range(columns)] for _ in range(min(rows, columns) + 1)]
        ledger.attempt(f"matrix {number}: {scores}", lambda scores=scores: _summarised(scores))
    return ledger


def fuzz_label_spaces(count: int, chance: random.Random) -> Ledger:
    """Spaces of usual and impossible ids: refused, or columns as a dictionary has them."""
    ledger = Ledger("label spaces")
    for _ in range(count):
        usual = [chance.randrange(0, 50) for _ in range(chance.randint(0, 6))]
        ids = [chance.choice(IDS) if chance.random() < 0.15 else id_ for id_ in usual]
        asked = [chance.choice((*usual, -1, -2, 49, 50, 2**40, -(2**40))) for _ in range(chance.randint(0, 8))]
        ledger.attempt(f"{ids} asked for {asked}", lambda ids=ids, asked=asked: _columns(ids, asked))
    return ledger


def _score(chance: random.Random, gaps: float) -> float:
    return math.nan if chance.random() < gaps else chance.choice((*SCORES, 100 * chance.random()))


def _summarised(scores: list[list[float]]) -> str | None:
    names = [f"task {j}" for j in range(len(scores[0]))]
    matrix = ResultMatrix(names)
    matrix.set_zero_shot(scores[0])
    for i, row in enumerate(scores[1:]):
        matrix.set_row(i, row, names[i])
    again = ResultMatrix.from_dict(json.loads(json.dumps(matrix.to_dict(), allow_nan=False)))
    found, stored = matrix.summary(), again.summary()
    for name, value in _written_out(scores[1:]).items():
        if not _equal(found[name], value):
            return f"{name} is {found[name]}, and {value} written out"
    return next((f"{name} changes in JSON" for name in found if found[name] != stored[name] == stored[name]), None)


def _written_out(R: list[list[float]]) -> dict[str, float]:
    if not R:
        return dict.fromkeys(("acc", "avg", "last", "transfer", "forgetting", "learning_acc"), math.nan)
    T, N = len(R), len(R[0])
    earlier = [[R[i][j] for i in range(min(j, T))] for j in range(N)]
    best = [[R[i][j] for i in range(j, T - 1) if R[i][j] == R[i][j]] for j in range(min(T - 1, N))]
    return {
        "acc": _mean(R[-1][:T]),
        "avg": _mean([_mean([R[i][j] for i in range(T)]) for j in range(N)]),
        "last": _mean(R[-1]),
        "transfer": _mean([_mean(column) for column in earlier[1:]]),
        "forgetting": _mean([max(column) - R[-1][j] for j, column in enumerate(best) if column]),
        "learning_acc": _mean([R[i][i] for i in range(T)]),
    }


def _mean(values: list[float]) -> float:
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else math.nan


def _equal(one: float, other: float) -> bool:
    return (one != one and other != other) or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)


def _columns(ids: list[Any], asked: list[int]) -> str | None:
    space = LabelSpace(tuple(ClassLabel(id_, f"class {place}") for place, id_ in enumerate(ids)))
    places = {id_: place for place, id_ in enumerate(ids)}
    if len(places) < len(ids) or not all(type(id_) is int and 0 <= id_ <= MOST_ID for id_ in ids):
        return "the space was taken"
    found = space.columns(torch.tensor(asked, dtype=torch.long)).tolist()
    expected = [places.get(id_, -1) for id_ in asked]
    return None if found == expected else f"columns {found} instead of {expected}"
