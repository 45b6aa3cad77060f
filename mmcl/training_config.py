"""TrainingConfig: how each experience is trained, from several layers of settings of which the later ones win."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from mmcl.errors import ConfigError
from mmcl.options import (
    Bounds,
    Count,
    Natural,
    NonNegative,
    PartialShare,
    Positive,
    Rate,
    Width,
    check_options,
    instantiate,
)

Workers = Annotated[int, Bounds(0, 1024)]

# training settings that only one optimiser reads
_OF_OPTIMIZER: Mapping[str, frozenset[str]] = {"adamw": frozenset({"betas"}), "sgd": frozenset({"momentum"})}


@dataclass(frozen=True)
class TrainingConfig:
    """How each experience is trained. Backbones, benchmarks and their experiences may have defaults of their own."""

    iterations: Count | None = None  # steps per experience; None: count epochs
    epochs: Count = 1
    batch_size: Width = 64
    eval_batch_size: Width = 128
    lr: Rate = 1e-5
    optimizer: Literal["adamw", "sgd"] = "adamw"
    betas: tuple[PartialShare, PartialShare] = (0.9, 0.999)
    momentum: PartialShare = 0.9  # of sgd
    weight_decay: NonNegative = 0.0
    schedule: Literal["cosine", "cosine_by_epoch", "cosine_by_step", "constant"] = "cosine"
    lr_end: PartialShare = 0.0  # where a cosine ends, as a share of lr
    milestones: tuple[Count, ...] = ()  # epochs after which a constant rate falls to a tenth
    warmup: Natural = 0  # steps
    label_smoothing: PartialShare = 0.0
    own_classes: bool = False  # in training, only the classes of a sample's own experience compete, in CIL too
    max_grad_norm: Positive | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"
    num_workers: Workers = 0
    freeze: tuple[str, ...] = ()  # glob patterns of parameter names; a backbone has its own (its logit scale)
    check_data: bool = True  # read every file once before training

    def __post_init__(self) -> None:
        """Check ranges and choices of all settings."""
        check_options(self, "training")

    def steps(self, samples: int) -> int:
        """Training steps of an experience with so many samples."""
        return self.epochs * math.ceil(samples / self.batch_size) if self.iterations is None else self.iterations

    def epoch(self, steps: int, samples: int) -> int:
        """Steps of one epoch of an experience with so many steps and samples."""
        return max(1, steps // self.epochs if self.iterations is None else -(-samples // self.batch_size))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Training settings of several layers as one; the later layer wins.

    It wins as a whole: a later ``epochs`` also replaces an earlier ``iterations``, and a later ``optimizer`` the
    options of another one.

    Raises:
        ConfigError: if a layer holds settings that exclude each other.
    """
    settings: dict[str, Any] = {}
    for layer in layers:
        _check_layer(layer)
        replaced = set(_of_other_optimizers(layer["optimizer"])) if "optimizer" in layer else set()
        if _counts_iterations(layer):
            replaced.add("epochs")
        elif "epochs" in layer:
            replaced.add("iterations")
        settings = {name: value for name, value in settings.items() if name not in replaced} | dict(layer)
    return settings


def resolve_training(*layers: Mapping[str, Any]) -> TrainingConfig:
    """Settings from several layers, merged, on top of the library's defaults.

    Raises:
        ConfigError: if a key is unknown, a value has the wrong type or range, or a setting would have no effect.
    """
    settings = merged(*layers)
    training: TrainingConfig = instantiate(TrainingConfig, settings, "training")
    for name in _of_other_optimizers(training.optimizer):
        if name in settings:
            raise _without_effect(name, training.optimizer)
    if training.lr_end and training.schedule == "constant":
        raise ConfigError(
            "training.lr_end",
            found=f"{training.lr_end}, which has no effect: the schedule is 'constant'",
            allowed="0, or another share with a cosine",
            remedy="Leave it out, or set schedule=cosine.",
        )
    if training.milestones and training.schedule != "constant":
        raise ConfigError(
            "training.milestones",
            found=f"{list(training.milestones)} beside the schedule {training.schedule!r}, which falls by itself",
            allowed="none, or epochs with a constant rate",
            remedy="Leave them out, or set schedule=constant.",
        )
    return training


def _check_layer(layer: Mapping[str, Any]) -> None:
    """Refuse settings of one layer that exclude each other."""
    if _counts_iterations(layer) and "epochs" in layer:
        raise ConfigError(
            "training",
            found=f"both iterations={layer['iterations']} and epochs={layer['epochs']}",
            allowed="one of them: they are two ways to say how long an experience is trained",
            remedy="Leave one out.",
        )
    iterations, warmup = layer.get("iterations"), layer.get("warmup")
    if isinstance(iterations, int) and isinstance(warmup, int) and warmup > iterations > 0:
        raise ConfigError(
            "training.warmup",
            found=f"{warmup} steps in a training of {iterations}, so that the rate never reaches lr",
            allowed=f"0 to {iterations}",
            remedy="Choose a shorter warm-up or more iterations.",
        )
    if "optimizer" in layer:
        for name in _of_other_optimizers(layer["optimizer"]):
            if name in layer:
                raise _without_effect(name, layer["optimizer"])


def _counts_iterations(layer: Mapping[str, Any]) -> bool:
    return layer.get("iterations") not in (None, "none")


def _of_other_optimizers(chosen: Any) -> list[str]:
    return sorted(option for owner, options in _OF_OPTIMIZER.items() if owner != chosen for option in options)


def _without_effect(option: str, optimizer: Any) -> ConfigError:
    owner = next(name for name, options in _OF_OPTIMIZER.items() if option in options)
    return ConfigError(
        f"training.{option}",
        found=f"it has no effect: the optimiser is {optimizer!r}",
        allowed=f"{option} with optimizer={owner}",
        remedy=f"Leave it out, or set optimizer={owner}.",
    )
