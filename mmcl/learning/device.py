"""Device: where a learner computes."""

import torch

from mmcl.errors import ConfigError


def chosen_device(name: str) -> torch.device:
    """The device of the setting ``device``; ``auto`` is a GPU if there is one.

    Raises:
        ConfigError: if nothing can be computed there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if torch.empty(0, device=name).is_meta:
            raise RuntimeError("it holds no numbers")
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            "training.device",
            found=f"{name!r} cannot be used ({str(error).splitlines()[0]})",
            allowed="auto, cpu, or a device that torch finds on this machine",
            remedy="Choose 'auto'.",
        ) from error
    return torch.device(name)
