"""Writes the golden vectors of merging, by the papers' definitions: ``python tests/parity/make_merging.py``.

It shares nothing with the library: all vectors are at hand at once, and entries are merged one by one.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"
Vectors = list[list[float]]


def sign(value: float) -> int:
    return int(value > 0) - int(value < 0)


def task_arithmetic(vectors: Vectors, density: float) -> list[float]:
    return [sum(entries) for entries in zip(*vectors, strict=True)]


def magmax(vectors: Vectors, density: float) -> list[float]:
    return [max(entries, key=abs) for entries in zip(*vectors, strict=True)]


def ties(vectors: Vectors, density: float) -> list[float]:
    left = []
    for vector in vectors:
        ranked = sorted(range(len(vector)), key=lambda place: -abs(vector[place]))
        best = set(ranked[: int(density * len(vector))])
        left.append([value if place in best else 0.0 for place, value in enumerate(vector)])
    merged = []
    for entries in zip(*left, strict=True):
        agreeing = [value for value in entries if value and sign(value) == sign(sum(entries))]
        merged.append(sum(agreeing) / len(agreeing) if agreeing else 0.0)
    return merged


METHODS: dict[str, Callable[[Vectors, float], list[float]]] = {
    "merge_task_arithmetic": task_arithmetic,
    "merge_ties": ties,
    "merge_magmax": magmax,
}


def main() -> None:
    """Three cases of each method: vectors of several lengths, one that is not trimmed, and one vector alone."""
    for number, (count, density, scale) in enumerate([(5, 0.2, 0.55), (4, 1.0, 0.3), (1, 0.5, 0.5)], 1):
        rng = np.random.default_rng(number)
        start = rng.normal(size=40)
        vectors = rng.normal(size=(count, 40)) * np.exp(rng.normal(size=(count, 1)))
        for name, merged in METHODS.items():
            after = [merged(vectors[: t + 1].tolist(), density) for t in range(count)]
            folder = DATA / name
            folder.mkdir(exist_ok=True)
            np.savez(
                folder / f"case_{number}.npz",
                in_theta0=start,
                in_thetas=start + vectors,
                hp_density=density,
                hp_scale=scale,
                out_merged=np.array(after),
                out_theta=start + scale * np.array(after),
            )


if __name__ == "__main__":
    main()
