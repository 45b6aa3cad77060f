"""Loggers: Weights & Biases and TensorBoard, neither of which can stop a run."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mmcl.errors import ConfigError, nearest


class RunLogger(Protocol):
    """Receives every loss term and every cell of the result matrix."""

    def scalar(self, name: str, value: float, step: int) -> None:
        """A value at a training step."""

    def cell(self, row: str, column: str, value: float) -> None:
        """A score: after learning ``row``, on the test set ``column``."""

    def close(self) -> None:
        """Write what has not been written yet, and end."""


class TensorBoardLogger:
    """Event files below ``FOLDER/tensorboard``. Cells are curves per test set over the number of rows."""

    def __init__(self, folder: Path, config: Mapping[str, Any], rows_done: Sequence[str] = ()) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))
        self._rows = list(rows_done)

    def scalar(self, name: str, value: float, step: int) -> None:
        """A value at a training step."""
        self._writer.add_scalar(name, value, step)

    def cell(self, row: str, column: str, value: float) -> None:
        """A point of the curve of a test set."""
        if row not in self._rows:
            self._rows.append(row)
        self._writer.add_scalar(f"matrix/{column}", value, self._rows.index(row))

    def close(self) -> None:
        """Write what is pending."""
        self._writer.close()


class WandbLogger:
    """A Weights & Biases run, offline when there is no key. A failure warns once and ends the logging, not the run."""

    def __init__(self, folder: Path, config: Mapping[str, Any], rows_done: Sequence[str] = ()) -> None:
        self._run: Any = None
        self._guarded(lambda: self._start(folder, config))

    def scalar(self, name: str, value: float, step: int) -> None:
        """A value at a training step."""
        self._guarded(lambda: self._run.log({name: value, "step": step}))

    def cell(self, row: str, column: str, value: float) -> None:
        """A score, as ``matrix/ROW/COLUMN``."""
        self._guarded(lambda: self._run.log({f"matrix/{row}/{column}": value}))

    def close(self) -> None:
        """Tell wandb that the run has ended."""
        self._guarded(lambda: self._run.finish())

    def _start(self, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        offline = not (os.environ.get("WANDB_API_KEY") or _has_saved_key())
        mode: Any = os.environ.get("WANDB_MODE") or ("offline" if offline else "online")
        settings = wandb.Settings(init_timeout=30, silent=True)
        self._run = wandb.init(
            project="mmcl", dir=str(folder), name=folder.name, mode=mode, config=dict(config), settings=settings
        )

    def _guarded(self, action: Callable[[], Any]) -> None:
        if self._run is None and getattr(self, "_failed", False):
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - logging is never worth a run
            self._run, self._failed = None, True
            warnings.warn(f"Weights & Biases logging stopped: {type(error).__name__}: {error}", stacklevel=3)


LOGGERS: dict[str, Callable[[Path, Mapping[str, Any], Sequence[str]], RunLogger]] = {
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
}


def check_loggers(names: Sequence[str]) -> None:
    """Refuse unknown names.

    Raises:
        ConfigError: if a name is unknown.
    """
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(
                f"--log {name}", found="no such logger", allowed=", ".join(LOGGERS), remedy=nearest(name, LOGGERS)
            )


def make_loggers(
    names: Sequence[str], folder: Path, config: Mapping[str, Any], rows_done: Sequence[str] = ()
) -> list[RunLogger]:
    """The loggers of a run, in a folder that exists; ``rows_done`` were logged before the run was interrupted."""
    check_loggers(names)
    return [LOGGERS[name](folder, config, rows_done) for name in names]


def _has_saved_key() -> bool:
    netrc = Path.home() / ".netrc"
    try:
        return "wandb" in netrc.read_text("utf-8")
    except OSError:
        return False
