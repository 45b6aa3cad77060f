"""Checkpoint: model, strategies and progress after some experiences, with a checksum for every file.

    checkpoint-K/
      model.safetensors   tensors of the model
      strategies/*.pt     what each strategy keeps
      progress.json       scores, label spaces, clocks: a checkpoint is complete without any other file
      SHA256SUMS          what every file must be; ``sha256sum -c SHA256SUMS`` checks it, too

It is written beside its place and gets its name last, so that a folder of that name is complete.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcl.durable import flush, flush_tree
from mmcl.errors import CheckpointError
from mmcl.stored_json import dumped, read_json, reading
from mmcl.tensor_file import read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

_SUMS, _MODEL, _PROGRESS = "SHA256SUMS", "model.safetensors", "progress.json"
_NAME = "checkpoint-"
_PIECE = 2**20


class Checkpoint:
    """One folder of a run.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def after(cls, experiences: int, run: Path) -> "Checkpoint":
        """The checkpoint of a run after so many experiences."""
        return cls(run / f"{_NAME}{experiences}")

    @property
    def name(self) -> str:
        """Name of the folder it is in."""
        return self.path.name

    @property
    def draft(self) -> Path:
        """Where it is before it is complete."""
        return self.path.with_name(f".{self.name}")

    def write(
        self, progress: Mapping[str, Any], model: "Mapping[str, Tensor]", strategies: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Write all files to the disk, then give them their name.

        Raises:
            OSError, RuntimeError, SafetensorError: if they cannot be written.
        """
        import torch

        shutil.rmtree(self.draft, ignore_errors=True)
        (self.draft / "strategies").mkdir(parents=True)
        (self.draft / _PROGRESS).write_text(dumped(progress), encoding="utf-8")
        write_tensors(self.draft / _MODEL, model)
        for key, state in strategies.items():
            torch.save(dict(state), self.draft / _state_file(key))
        (self.draft / _SUMS).write_text("".join(_sums(self.draft)), encoding="utf-8", newline="\n")
        flush_tree(self.draft)
        shutil.rmtree(self.path, ignore_errors=True)  # only a damaged one can be there
        self.draft.rename(self.path)
        flush(self.path.parent)

    @property
    def damage(self) -> str:
        """What is wrong with its files; empty if nothing is."""
        try:
            written, found = (self.path / _SUMS).read_bytes(), _sums(self.path)
        except OSError as error:
            return f"no {_SUMS}" if self.lacks_sums else f"it cannot be read ({error})"
        if written == "".join(found).encode():
            return ""
        listed = set(written.decode("utf-8", "replace").splitlines(keepends=True))
        odd = sorted(line.strip().rpartition("  ")[2] for line in listed ^ set(found))
        return f"{odd[0] or _SUMS} is not what was written" if odd else f"{_SUMS} is not what was written"

    @property
    def lacks_sums(self) -> bool:
        """Whether nothing says what its files must be, as in checkpoints of earlier versions."""
        return not (self.path / _SUMS).exists()

    @property
    def progress(self) -> dict[str, Any]:
        """What had been done.

        Raises:
            CheckpointError: if it cannot be read.
        """
        progress: dict[str, Any] = read_json(self.path / _PROGRESS, dict)
        return progress

    def load(self, strategy_names: list[str]) -> "tuple[dict[str, Tensor], dict[str, dict[str, Any]]]":
        """Model tensors and strategy states.

        Raises:
            CheckpointError: if a file is missing or is no such file.
        """
        import torch

        with reading(self.path):
            states = {name: torch.load(self.path / _state_file(name), weights_only=True) for name in strategy_names}
            return read_tensors(self.path / _MODEL), states


def checkpoints(run: Path) -> list[Checkpoint]:
    """Those of a run, the newest first."""
    numbers = [folder.name.removeprefix(_NAME) for folder in run.glob(f"{_NAME}*") if folder.is_dir()]
    return [Checkpoint.after(k, run) for k in sorted((int(n) for n in numbers if n.isdecimal()), reverse=True)]


def newest_intact(run: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint of a run without damage, and a sentence for each newer one; ``None`` before the first.

    Raises:
        CheckpointError: if all are damaged.
    """
    damages: dict[str, str] = {}
    for checkpoint in checkpoints(run):
        damage = checkpoint.damage
        if not damage:
            passed = [f"{name} is damaged ({what})" for name, what in damages.items()]
            return checkpoint, [f"{sentence}: {checkpoint.name} takes its place." for sentence in passed]
        damages[checkpoint.name] = damage
    if damages:
        raise _none_intact(run, damages)
    return None, []


def _none_intact(run: Path, damages: Mapping[str, str]) -> CheckpointError:
    if all(checkpoint.lacks_sums for checkpoint in checkpoints(run)):
        found = f"no {_SUMS} in {', '.join(damages)}: an earlier version of MMCL has written them, or they are damaged"
        remedy = "Use the version of MMCL that results.json names, or run again into a new folder."
    else:
        found = "; ".join(f"{name} is damaged ({what})" for name, what in damages.items())
        remedy = "Restore the folder from a backup, or run again into a new one."
    allowed = "a run with a checkpoint as this version of MMCL has written it"
    return CheckpointError(f"run folder {run}", found=found, allowed=allowed, remedy=remedy)


def _sums(folder: Path) -> list[str]:
    """A line for every file, in order of their names."""
    found = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return [f"{_digest(folder / name)}  {name}\n" for name in sorted(found) if name != _SUMS]


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _state_file(strategy: str) -> str:
    """A strategy may be called ``package.module:Class`` or ``distribution:name``."""
    return f"strategies/{strategy.replace(':', '-').replace('/', '-')}.pt"
