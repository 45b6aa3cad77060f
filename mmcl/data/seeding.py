"""Seeds derived by name, and the global generators that augmentation draws from."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import numpy as np
import torch


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed that depends on all arguments and on nothing else."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def seed_generators(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch's CPU; cheap enough for every sample."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)


@contextmanager
def kept_generators() -> Iterator[None]:
    """Put the global generators of Python, NumPy and torch's CPU back after the body."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
