"""What is drawn of what was fitted: classes, sets of modalities, noise."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from mmcl_strategies.pseudo_replay.class_densities import ClassDensities, Record, joined
from mmcl_strategies.pseudo_replay.density import fit
from mmcl_strategies.pseudo_replay.feature_vae import HIDDEN, draw_vae

from mmcl.data.modality import IMAGE, TEXT

LIKE = {IMAGE: torch.zeros(1, 2), TEXT: torch.zeros(1, 2)}


def record(target: int, modalities: list[str], count: int, task_id: int = 0) -> Record:
    samples = torch.full((5, 2 * len(modalities)), float(target))
    return {
        "task_id": task_id,
        "target": target,
        "modalities": modalities,
        "widths": [2] * len(modalities),
        "count": count,
        **fit(samples),
    }


def test_classes_are_drawn_independently_and_equally_often() -> None:
    densities = ClassDensities([record(target, [IMAGE], 10 * (target + 1), target // 2) for target in range(4)])
    drawn = densities.draw(4000, LIKE, torch.Generator().manual_seed(0))
    counts = Counter(drawn.targets.tolist())
    assert all(count == pytest.approx(1000, rel=0.1) for count in counts.values())
    pairs = Counter(pairwise(drawn.targets.tolist()))
    assert len(pairs) == 16
    assert min(pairs.values()) > 180
    assert torch.equal(drawn.task_ids, drawn.targets // 2)
    torch.testing.assert_close(drawn.features[IMAGE][:, 0], drawn.targets.float())


def test_sets_of_modalities_are_drawn_as_often_as_they_occurred() -> None:
    records = [record(1, [IMAGE], 30), record(1, [IMAGE, TEXT], 10), record(1, [TEXT], 60)]
    drawn = ClassDensities(records).draw(4000, LIKE, torch.Generator().manual_seed(0))
    sets = Counter(zip(drawn.present[IMAGE].tolist(), drawn.present[TEXT].tolist(), strict=True))
    assert {key: round(count / 400) for key, count in sets.items()} == {
        (True, False): 3,
        (True, True): 1,
        (False, True): 6,
    }
    for name in (IMAGE, TEXT):
        torch.testing.assert_close(drawn.features[name][:, 0], drawn.present[name].float())


def test_what_is_not_present_is_zero_in_the_row_of_a_sample() -> None:
    features = {IMAGE: torch.ones(3, 2), TEXT: 2 * torch.ones(3, 1)}
    present = {IMAGE: torch.tensor([True, False, True]), TEXT: torch.tensor([True, True, False])}
    assert joined(features, present).tolist() == [[1, 1, 2], [0, 0, 2], [1, 1, 0]]


def test_draws_of_an_autoencoder_have_noise_around_what_it_decodes_in_the_units_of_the_features() -> None:
    widths = [2, *reversed(HIDDEN), 3]
    layers = [tensor for a, b in pairwise(widths) for tensor in (torch.zeros(b, a), torch.zeros(b))]
    layers[-1] = torch.tensor([1.0, 0.0, -1.0])
    mean, scale, noise = torch.tensor([5.0, 6.0, 7.0]), torch.tensor([2.0, 1.0, 0.5]), torch.tensor([0.5, 1.0, 0.1])
    density = {"mean": mean, "scale": scale, "noise": noise, **{f"decoder{n}": t for n, t in enumerate(layers)}}
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([draw_vae(density, generator) for _ in range(2000)])
    torch.testing.assert_close(drawn.mean(0), mean + scale * layers[-1], rtol=0.02, atol=0.02)
    torch.testing.assert_close(drawn.std(0), scale * noise, rtol=0.06, atol=0.0)
