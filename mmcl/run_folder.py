"""RunFolder: what a run leaves on disk, so that neither a kill nor a power cut loses more than one experience.

    config.toml            the complete, re-runnable configuration
    plugins.json           classes of the avalanche plugins handed over in Python, if there are any
    identity.json          what the run is: resolved settings, digests of its data, versions (``mmcl.identity``)
    checkpoint-K/          everything after K experiences (``mmcl.checkpoint``); the last two are kept
    progress.json          what has been done, a copy of the newest checkpoint's
    results.json           the result matrix and everything a reader of it needs
    history.jsonl          losses, rates and seconds every few steps (``mmcl.history``)
    predictions/K.csv.gz   what the model said of every row of the test sets after K experiences
    report.md, matrix.png  the same for people
    probe/, disorder.*     features of the probe and what has become of them, if there is one (``mmcl.probe``)

Checkpoints hold tensors, numbers, strings, lists and dictionaries only and load without running any code.
"""

import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from mmcl.checkpoint import Checkpoint, checkpoints, newest_intact
from mmcl.config import RunConfig, read_toml, write_toml
from mmcl.durable import draft_of, make_folder, replacing
from mmcl.errors import CheckpointError
from mmcl.lock import HOLDER, LOCK, MARKED
from mmcl.remarks import Remark
from mmcl.stored_json import dumped, read_json, reading
from mmcl.tensor_file import read_tensors, write_tensors
from mmcl.trust import note_trust, require_trusted

if TYPE_CHECKING:
    from torch import Tensor

_CONFIG, _PLUGINS, _PROGRESS, _RESULTS = "config.toml", "plugins.json", "progress.json", "results.json"
_KEPT = 2  # checkpoints
_REMAINS = {_PLUGINS, HOLDER, LOCK, MARKED, *(draft_of(Path(name)).name for name in (_PLUGINS, _CONFIG))}


class RunFolder:
    """One run on disk.

    Args:
        path: the folder.
        trust: whether code that its configuration names may run, although nobody has registered it (``mmcl.trust``).
    """

    def __init__(self, path: Path, trust: bool = False) -> None:
        self.path = path
        self.trust = trust

    @classmethod
    def open(cls, path: Path, trust: bool = False) -> "RunFolder":
        """An existing run, to read.

        Args:
            path: the folder.
            trust: whether code that its configuration names may run, although nobody has registered it.

        Raises:
            CheckpointError: if there is none.
        """
        folder = cls(path, trust)
        if folder.has_begun:
            return folder
        stopped = path.is_dir() and folder.is_vacant and any(path.iterdir())
        raise CheckpointError(
            f"run folder {path}",
            found="a run that ended before it began" if stopped else _nothing(path),
            allowed="a folder written by 'mmcl run'",
            remedy=f"Begin it again with 'mmcl run ... --out {path}'."
            if stopped
            else "Check the path; 'mmcl run ... --out DIR' makes such a folder.",
        )

    @property
    def has_begun(self) -> bool:
        """Whether there is a run that can be gone on with."""
        return (self.path / _CONFIG).is_file()

    def begin(self, config: RunConfig, plugins: Sequence[str], identity: Mapping[str, Any]) -> None:
        """Write configuration, classes of plugins and identity; from now on the run can be resumed.

        The configuration comes first: a stream that has grown in it alone is one whose extension was interrupted.
        """
        if plugins:
            self.write_json(_PLUGINS, list(plugins))
        note_trust(config, self.path)
        with self._replacing(_CONFIG) as draft:
            write_toml(config, draft)
        self.write_json("identity.json", identity)
        self._tidy()

    def require_plugins(self, handed_over: Sequence[str]) -> None:
        """Refuse to go on with other plugins than the run was started with.

        Raises:
            CheckpointError: naming both.
        """
        recorded = self.read_json(_PLUGINS, list) or []
        if list(handed_over) != recorded:
            raise CheckpointError(
                f"run folder {self.path}",
                found=f"the run was started with {_listed(recorded)} and is continued with {_listed(handed_over)}",
                allowed="the same classes in the same order",
                remedy="Hand new objects of these classes over as plugins=[...], from Python.",
            )

    @property
    def config(self) -> RunConfig:
        """The configuration the run was started with.

        Raises:
            ConfigError: if it is damaged.
            PluginError: if it names code that may not run.
        """
        config = read_toml(self.path / "config.toml")
        require_trusted(config, f"run folder {self.path}", self.path, self.trust)
        return config

    @property
    def is_vacant(self) -> bool:
        """Whether nothing is there but what remains of a run that ended before it began."""
        return not self.path.exists() or (
            self.path.is_dir() and {file.name for file in self.path.iterdir()} <= _REMAINS
        )

    def vacate(self) -> None:
        """Remove what remains of a run that ended before it began."""
        _remove(self.path / name for name in _REMAINS - {HOLDER, LOCK, MARKED})

    @property
    def progress(self) -> dict[str, Any] | None:
        """What has been done, or ``None`` if not even the row before training is there.

        Raises:
            CheckpointError: if it is lost.
        """
        stored = self._stored_progress()
        if stored is not None:
            return stored
        newest = self.newest()
        return None if newest is None else newest.progress

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is intact, with a remark if one is passed over; ``None`` before the first.

        Raises:
            CheckpointError: if none is.
        """
        found, remarks = self._newest()
        for sentence in remarks:
            warnings.warn(sentence, Remark, stacklevel=2)
        return found

    def recover(self) -> None:
        """Let ``progress.json`` say again what the newest intact checkpoint says, with a remark if something was lost.

        A kill between the two leaves an older one, which is no damage.

        Raises:
            CheckpointError: if no checkpoint is intact.
        """
        newest, remarks = self._newest()
        if newest is None:
            return
        stored, progress = self._stored_progress(), newest.progress
        older = stored is not None and stored.get("checkpoint") in [c.name for c in checkpoints(self.path)[1:]]
        if stored != progress and not remarks and not older:
            remarks = [f"{_PROGRESS} was lost or damaged; {newest.name} says what had been done."]
        recovered = {**progress, "remarks": list(dict.fromkeys([*progress["remarks"], *remarks]))}
        if stored != recovered:
            self.write_json(_PROGRESS, recovered)
            for sentence in remarks:
                warnings.warn(sentence, Remark, stacklevel=2)

    @property
    def results(self) -> dict[str, Any]:
        """The content of ``results.json``.

        Raises:
            CheckpointError: if the run has not written any.
        """
        results: dict[str, Any] | None = self.read_json(_RESULTS, dict)
        if results is None:
            raise CheckpointError(
                f"run folder {self.path}",
                found="no results.json",
                allowed="a run with at least the row before training",
                remedy=f"Continue it with 'mmcl resume {self.path}'.",
            )
        return results

    def save(
        self, progress: Mapping[str, Any], model: "Mapping[str, Tensor]", strategies: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Make a checkpoint the current one; until its last step the one before stays valid."""
        checkpoint = Checkpoint.after(progress["experiences_done"], self.path)
        named = {**progress, "checkpoint": checkpoint.name}
        with self.writing():
            checkpoint.write(named, model, strategies)
        self.write_json(_PROGRESS, named)
        self._tidy()

    def load(self, strategy_names: list[str]) -> "tuple[dict[str, Tensor], dict[str, dict[str, Any]]]":
        """Model tensors and strategy states of the current checkpoint, which ``recover`` has found intact.

        Raises:
            CheckpointError: if a file of it is missing.
        """
        assert self.progress is not None
        return Checkpoint(self.path / self.progress["checkpoint"]).load(strategy_names)

    def write_json(self, name: str, content: Any) -> None:
        """Replace a JSON file in one step."""
        self.write_text(name, dumped(content))

    def write_text(self, name: str, content: str) -> None:
        """Replace a text file in one step."""
        self.write_bytes(name, content.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Replace a file in one step."""
        with self._replacing(name) as draft:
            draft.write_bytes(content)

    def write_tensors(self, name: str, tensors: "Mapping[str, Tensor]") -> None:
        """Replace a safetensors file in one step."""
        with self._replacing(name) as draft:
            write_tensors(draft, tensors)

    def read_json(self, name: str, kind: type | None = None) -> Any:
        """The content of a JSON file; ``None`` if there is no such file.

        Raises:
            CheckpointError: if it is damaged.
        """
        file = self.path / name
        return read_json(file, kind) if file.is_file() else None

    def read_tensors(self, name: str) -> "dict[str, Tensor]":
        """The content of a safetensors file.

        Raises:
            CheckpointError: if it is missing or damaged.
        """
        with reading(self.path / name):
            return read_tensors(self.path / name)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what a full or read-only disk makes a writer raise into a sentence.

        Raises:
            CheckpointError: naming the folder.
        """
        try:
            yield
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own
            raise CheckpointError(
                f"output folder {self.path}",
                found=f"it cannot be written ({error})",
                allowed="a writable folder with free space",
                remedy=f"Free space or change permissions, then 'mmcl resume {self.path}', or choose another --out.",
            ) from error

    def _newest(self) -> tuple[Checkpoint | None, list[str]]:
        found, remarks = newest_intact(self.path)
        if found is None and (orphans := [name for name in (_PROGRESS, _RESULTS) if (self.path / name).exists()]):
            raise CheckpointError(
                f"run folder {self.path}",
                found=f"{orphans[0]} without a checkpoint",
                allowed="the complete folder as it was written",
                remedy="Restore the folder from a backup, or run again into a new one.",
            )
        return found, remarks

    def _stored_progress(self) -> dict[str, Any] | None:
        """What ``progress.json`` says, if it can be read."""
        try:
            stored: dict[str, Any] | None = self.read_json(_PROGRESS, dict)
        except CheckpointError:
            return None
        return stored

    def _tidy(self) -> None:
        """Remove what a kill has left, and checkpoints that are not needed any more."""
        _remove(self.path.glob(".checkpoint-*"))
        _remove(self.path.glob(".*.new"))
        _remove(checkpoint.path for checkpoint in checkpoints(self.path)[_KEPT:])

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        """A file to write, which takes the place of another in one step."""
        target = self.path / name
        with self.writing():
            make_folder(target.parent)
            with replacing(target) as draft:
                yield draft


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _nothing(path: Path) -> str:
    return "no config.toml" if path.is_dir() else "no such folder"


def _listed(plugins: Sequence[str]) -> str:
    return f"the plugins {', '.join(plugins)}" if plugins else "no plugins"
