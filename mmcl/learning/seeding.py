"""Seeds derived by name: every random choice of a run follows from one number, in any process, after any restart."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mmcl.data.seeding import derive_seed, kept_generators, seed_generators

__all__ = ["derive_generator", "derive_seed", "seeded"]


def derive_generator(seed: int, *names: object) -> torch.Generator:
    """A CPU generator with a derived seed."""
    return torch.Generator().manual_seed(derive_seed(seed, *names))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch inside the body, and put them back afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with kept_generators(), torch.random.fork_rng(devices=devices, enabled=bool(devices)):
        seed_generators(seed)
        if devices or torch.backends.mps.is_available():  # it takes longer than a small step, and the CPU has its seed
            torch.manual_seed(seed)
        yield
