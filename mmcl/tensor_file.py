"""Tensor files: safetensors with the permissions that other files have."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def write_tensors(file: Path, tensors: "Mapping[str, Tensor]") -> None:
    """Write a file that everyone may read who may read the other files; safetensors alone lets the owner only."""
    from safetensors.torch import save_file

    file.touch()
    usual = file.stat().st_mode
    save_file({name: value.contiguous() for name, value in tensors.items()}, file)
    file.chmod(usual)


def read_tensors(file: Path) -> "dict[str, Tensor]":
    """The content of a file, on the CPU."""
    from safetensors.torch import load_file

    return load_file(file)
