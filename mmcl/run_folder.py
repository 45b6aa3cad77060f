"""RunFolder: what a run leaves on disk, written so that a kill at any moment loses at most one experience.

    config.toml            the complete, re-runnable configuration
    plugins.json           classes of the avalanche plugins handed over in Python, if there are any
    identity.json          what the run is: resolved settings, digests of its data, versions (``mmcl.identity``)
    progress.json          what has been done; names the current checkpoint; replaced in one step
    checkpoint-K/          model.safetensors and strategies/*.pt after K experiences
    results.json           the result matrix and everything a reader of it needs
    report.md, matrix.png  the same for people
    probe/, disorder.*     features of the probe and what has become of them, if there is one (``mmcl.probe``)

Checkpoints hold tensors, numbers, strings, lists and dictionaries only and load without running any code.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmcl.config import RunConfig, read_toml, write_toml
from mmcl.errors import CheckpointError

_DRAFT = ".config.toml.new"


class RunFolder:
    """One run on disk.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def claim(cls, path: Path) -> "RunFolder":
        """An empty folder for a new run; ``begin`` makes it one.

        Raises:
            CheckpointError: if the folder holds a run or anything else, or cannot be written.
        """
        if (path / "config.toml").exists():
            raise CheckpointError(
                f"output folder {path}",
                found="it holds another run",
                allowed="a new or empty folder",
                remedy=f"Continue that run with 'mmcl resume {path}', or choose another --out.",
            )
        if path.exists() and (not path.is_dir() or any(file.name != _DRAFT for file in path.iterdir())):
            raise CheckpointError(
                f"output folder {path}",
                found="it is not an empty folder",
                allowed="a new or empty folder",
                remedy="Choose another --out.",
            )
        folder = cls(path)
        with folder._writing():
            path.mkdir(parents=True, exist_ok=True)
        return folder

    def begin(self, config: RunConfig, plugins: Sequence[str], identity: Mapping[str, Any]) -> None:
        """Write configuration, classes of plugins and identity; from now on the run can be resumed.

        The configuration comes first: a stream that has grown in it alone is one whose extension was interrupted.
        """
        if plugins:
            self.write_json("plugins.json", list(plugins))
        draft = self.path / _DRAFT
        with self._writing():
            write_toml(config, draft)
            os.replace(draft, self.path / "config.toml")
        self.write_json("identity.json", identity)

    def release(self) -> None:
        """Remove the folder if nothing has been written to it, because the run was refused."""
        with suppress(OSError):
            (self.path / _DRAFT).unlink(missing_ok=True)
            self.path.rmdir()

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run.

        Raises:
            CheckpointError: if there is none.
        """
        if not (path / "config.toml").is_file():
            raise CheckpointError(
                f"run folder {path}",
                found="no config.toml" if path.is_dir() else "no such folder",
                allowed="a folder written by 'mmcl run'",
                remedy="Check the path; 'mmcl run ... --out DIR' makes such a folder.",
            )
        return cls(path)

    def require_plugins(self, handed_over: Sequence[str]) -> None:
        """Refuse to go on with other plugins than the run was started with.

        Raises:
            CheckpointError: naming both.
        """
        recorded = self.read_json("plugins.json") or []
        if list(handed_over) != recorded:
            raise CheckpointError(
                f"run folder {self.path}",
                found=f"the run was started with {_listed(recorded)} and is continued with {_listed(handed_over)}",
                allowed="the same classes in the same order",
                remedy="Hand new objects of these classes over as plugins=[...], from Python.",
            )

    @property
    def config(self) -> RunConfig:
        """The configuration the run was started with."""
        return read_toml(self.path / "config.toml")

    @property
    def progress(self) -> dict[str, Any] | None:
        """What has been done, or ``None`` if not even the row before training is there.

        Raises:
            CheckpointError: if the file is lost, although something has been learned.
        """
        progress: dict[str, Any] | None = self.read_json("progress.json")
        # a kill may leave the first checkpoint, the one before training, without it
        learned = [folder.name for folder in self.path.glob("checkpoint-*") if folder.name != "checkpoint-0"]
        if progress is None and learned:
            raise CheckpointError(
                f"run folder {self.path}",
                found=f"{learned[0]} without a progress.json",
                allowed="the complete folder as it was written",
                remedy="Restore the folder from a backup, or run again into a new one.",
            )
        return progress

    @property
    def results(self) -> dict[str, Any]:
        """The content of ``results.json``.

        Raises:
            CheckpointError: if the run has not written any.
        """
        results: dict[str, Any] | None = self.read_json("results.json")
        if results is None:
            raise CheckpointError(
                f"run folder {self.path}",
                found="no results.json",
                allowed="a run with at least the row before training",
                remedy=f"Continue it with 'mmcl resume {self.path}'.",
            )
        return results

    def save(
        self, progress: Mapping[str, Any], model: Mapping[str, Tensor], strategies: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Make a checkpoint the current one; until the last step the previous one stays valid."""
        name = f"checkpoint-{progress['experiences_done']}"
        draft = self.path / f".{name}"
        with self._writing():
            shutil.rmtree(draft, ignore_errors=True)
            (draft / "strategies").mkdir(parents=True)
            save_file({key: value.contiguous() for key, value in model.items()}, draft / "model.safetensors")
            for key, state in strategies.items():
                torch.save(dict(state), draft / "strategies" / f"{_file_name(key)}.pt")
            shutil.rmtree(self.path / name, ignore_errors=True)
            draft.rename(self.path / name)
            self.write_json("progress.json", {**progress, "checkpoint": name})
        for old in self.path.glob("checkpoint-*"):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)

    def load(self, strategy_names: list[str]) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
        """Model tensors and strategy states of the current checkpoint.

        Raises:
            CheckpointError: if a file of it is missing or damaged.
        """
        progress = self.progress
        assert progress is not None
        folder = self.path / progress["checkpoint"]
        with _reading(folder):
            states = {
                name: torch.load(folder / "strategies" / f"{_file_name(name)}.pt", weights_only=True)
                for name in strategy_names
            }
            return load_file(folder / "model.safetensors"), states

    def write_json(self, name: str, content: Any) -> None:
        """Replace a JSON file in one step."""
        self.write_text(name, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def write_text(self, name: str, content: str) -> None:
        """Replace a text file in one step."""
        with self._replacing(name) as draft:
            draft.write_text(content, encoding="utf-8")

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Replace a safetensors file in one step."""
        with self._replacing(name) as draft:
            save_file({key: value.contiguous() for key, value in tensors.items()}, draft)

    def read_json(self, name: str) -> Any:
        """The content of a JSON file; ``None`` if there is no such file."""
        file = self.path / name
        return json.loads(file.read_text("utf-8")) if file.is_file() else None

    def read_tensors(self, name: str) -> dict[str, Tensor]:
        """The content of a safetensors file.

        Raises:
            CheckpointError: if it is missing or damaged.
        """
        with _reading(self.path / name):
            return load_file(self.path / name)

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        """A file to write, which takes the place of another in one step."""
        target = self.path / name
        draft = target.with_name(f".{target.name}.new")
        with self._writing():
            target.parent.mkdir(exist_ok=True)
            yield draft
            os.replace(draft, target)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own
            raise CheckpointError(
                f"output folder {self.path}",
                found=f"it cannot be written ({error})",
                allowed="a writable folder with free space",
                remedy=f"Free space or change permissions, then 'mmcl resume {self.path}', or choose another --out.",
            ) from error


@contextmanager
def _reading(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"checkpoint {place}",
            found=f"it cannot be read ({error})",
            allowed="the complete folder as it was written",
            remedy="Restore the folder from a backup, or run again into a new one.",
        ) from error


def _listed(plugins: Sequence[str]) -> str:
    return f"the plugins {', '.join(plugins)}" if plugins else "no plugins"


def _file_name(strategy: str) -> str:
    """A strategy may be called ``package.module:Class`` or ``distribution:name``."""
    return strategy.replace(":", "-").replace("/", "-")
