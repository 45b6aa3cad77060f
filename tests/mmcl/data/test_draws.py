"""Draws: what a sample's augmentation depends on, and what reading it leaves behind."""

import pickle
import random

import numpy as np
import torch

from mmcl.data.collate import Collator
from mmcl.data.draws import Drawn, DrawnBatches, Draws
from mmcl.data.loader import Loader, augmented_batches
from mmcl.data.modality import ModalitySpec
from mmcl.data.sample import Batch, Sample

SPECS = {"noise": ModalitySpec((3,))}


class Noise:
    """Samples made of one number of each global generator."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        value = torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))])
        return Sample({"noise": value}, index, str(index), 0, finished=True)


def states() -> tuple[object, list[int], list[int]]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def rows(loader: Loader) -> list[list[float]]:
    return [row for batch in loader for row in batch.inputs["noise"].tolist()]


def loader(order: list[list[int]], workers: int = 0, seed: int = 5) -> Loader:
    return augmented_batches(Noise(4), Collator(SPECS), order, seed=seed, num_workers=workers)


def test_augmentation_depends_on_seed_sample_and_turn_alone() -> None:
    first = rows(loader([[0, 1], [2, 3], [1, 0]]))
    other_batches = rows(loader([[2], [0, 3, 1], [0, 1]]))
    assert [first[i] for i in (2, 0, 3, 1, 5, 4)] == other_batches
    assert len({tuple(row) for row in first}) == 6
    numbers = {number for row in first + rows(loader([[0, 1], [2, 3], [1, 0]], seed=6)) for number in row}
    assert len(numbers) == 36


def test_augmentation_is_the_same_in_any_process_and_moves_no_generator() -> None:
    order = [[0, 1], [2, 3], [1, 0], [3]]
    before = states()
    alone, one, two = (rows(loader(order, workers)) for workers in (0, 1, 2))
    assert alone == one == two
    assert states() == before


def test_each_pass_over_a_loader_is_augmented_anew_however_much_was_read_ahead() -> None:
    again = []
    for workers in (0, 2):
        batches = loader([[0, 1], [2, 3], [0, 1], [2, 3]], workers)
        given_up = next(iter(batches)).inputs["noise"].tolist()
        again.append(rows(batches))
        assert given_up != again[-1][:2]
    assert again[0] == again[1]


def test_a_sample_drawn_twice_in_one_batch_is_augmented_twice() -> None:
    first, second = Draws(0)([7, 7])
    assert first.position == second.position
    assert first.seed != second.seed


def test_generators_are_as_before_when_a_sample_cannot_be_read() -> None:
    class Broken(Noise):
        def __getitem__(self, index: int) -> Sample:
            super().__getitem__(index)
            raise OSError(index)

    before = states()
    try:
        Drawn(Broken(1)).__getitems__(Draws(0)([0]))
    except OSError:
        assert states() == before
    else:
        raise AssertionError


def test_what_worker_processes_receive_can_be_pickled() -> None:
    sent = loader([[0, 1]]).loader
    data, collate = pickle.loads(pickle.dumps((sent.dataset, sent.collate_fn)))
    batch: Batch = collate(data.__getitems__(Draws(0)([3]))).batch
    assert batch.targets.tolist() == [3]
    assert len(DrawnBatches([[0], [1]], 0)) == 2
