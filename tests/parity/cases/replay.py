"""reservoir, through ``mmcl.data.selection``."""

import numpy as np
import torch

from mmcl.data.selection import given_up, largest_keys, reservoir_contents, reservoir_slot, reservoir_slots

from ..case import Case, Parity, Tolerance


def check_reservoir(case: Case) -> None:
    size, draws = case.integer("size"), case.arrays["u"]
    slots = reservoir_slots(0, size, draws)
    case.expect("slot", np.array(slots, dtype=np.int64).reshape(-1))
    case.expect("buffer", np.array(reservoir_contents(slots, size), dtype=np.int64).reshape(-1))
    unbounded = [reservoir_slot(k, 0, u) for k, u in enumerate(draws)]
    assert set(unbounded) <= {-1}, "a memory without slots accepted an item"
    assert len(slots) == case.integer("n_stream")

    keys = torch.from_numpy(np.array(case.arrays["keys"]))
    kept, position, after_chunks = torch.empty(0, dtype=torch.long), 0, []
    for length in case.arrays["chunks"]:
        joined = torch.cat([kept, torch.arange(position, position + int(length))])
        kept = joined[largest_keys(keys[joined], size)]
        position += int(length)
        after_chunks.append(np.pad(kept.numpy(), (0, size - len(kept)), constant_values=-1))
    case.expect("key_kept", np.array(after_chunks, dtype=np.int64).reshape(len(after_chunks), size))

    position, inside, by_one = 0, [], []
    for length in case.arrays["chunks"]:
        for item in range(position, position + int(length)):
            inside.append(item)
            if len(inside) > size:
                del inside[given_up([float(keys[i]) for i in inside], [0] * len(inside))]
        position += int(length)
        inside.sort(key=lambda i: -float(keys[i]))
        by_one.append(np.pad(np.array(inside, dtype=np.int64), (0, size - len(inside)), constant_values=-1))
    case.expect("key_kept", np.array(by_one, dtype=np.int64).reshape(len(by_one), size))
    case.require_all(["slot", "buffer", "key_kept"])


PARITY = {"reservoir": Parity(check_reservoir, {torch.float64: Tolerance(0.0, 0.0)})}
