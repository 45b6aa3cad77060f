"""Writes case_1.npz: the logits term pair by pair, looking classes up by id, and its gradient by central differences.

Nothing here comes from the package: two formulations that agree are the point of a parity test.
"""

from pathlib import Path

import numpy as np

CLASSES = [7, 3, 9, 4, 0]  # ids of today's columns
STORED = [[7, 3], [7, 3, 9, 4], [9, 4], [0, 9, 3]]  # ids that each remembered sample was stored with
STEP = 1e-3  # central differences of a quadratic are exact for any step


def value(today: np.ndarray, remembered: list[dict[int, float]]) -> float:
    differences = [
        today[row, CLASSES.index(id_)] - logit for row, pairs in enumerate(remembered) for id_, logit in pairs.items()
    ]
    return float(np.mean(np.square(differences)))


def arrays() -> dict[str, np.ndarray]:
    """Inputs begin with ``in_``, results with ``out_``."""
    random = np.random.default_rng(0)
    today = random.normal(size=(len(STORED), len(CLASSES)))
    remembered = [{id_: float(random.normal()) for id_ in ids} for ids in STORED]
    gradient = np.zeros_like(today)
    for place in np.ndindex(*today.shape):
        step = np.zeros_like(today)
        step[place] = STEP
        gradient[place] = (value(today + step, remembered) - value(today - step, remembered)) / (2 * STEP)
    length = max(map(len, STORED))
    return {
        "in_classes": np.array(CLASSES),
        "in_logits": today,
        "in_stored_ids": np.array([ids + [-1] * (length - len(ids)) for ids in STORED]),
        "in_stored": np.array([[*pairs.values(), *[0.0] * (length - len(pairs))] for pairs in remembered]),
        "out_term": np.array(value(today, remembered)),
        "out_gradient": gradient,
    }


if __name__ == "__main__":
    np.savez(Path(__file__).with_name("case_1.npz"), **arrays())
