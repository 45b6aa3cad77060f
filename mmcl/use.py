"""Use a run after it has ended: predict with its model, or export the weights to another tool's format."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmcl.build import build_plugin, build_strategies
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.reference import open_image
from mmcl.data.sample import Inputs
from mmcl.errors import CheckpointError, ConfigError, nearest
from mmcl.identity import model_settings, recorded_identity, refuse, setting_differences
from mmcl.learning.compose import Need
from mmcl.learning.learner import Learner
from mmcl.learning.weights import restore_model
from mmcl.models.digest import weights_digest
from mmcl.models.multimodal import MultimodalModel
from mmcl.registry import BACKBONES
from mmcl.remarks import Remark
from mmcl.run_folder import RunFolder
from mmcl.streams.scenario import SCENARIOS

FORMATS = ("open_clip",)


@dataclass(frozen=True)
class Prediction:
    """Classes of one file, best first, with their probabilities among the classes considered."""

    file: Path
    classes: list[tuple[str, float]]


def predict(folder: Path, files: Sequence[Path], top: int = 5, experience: str | None = None) -> list[Prediction]:
    """Classify image files with the model of a run.

    Args:
        folder: the run folder.
        files: image files.
        top: number of classes to return.
        experience: let only its classes compete; by default those of all experiences learned so far.

    Raises:
        ConfigError: if there is no such experience.
        DataError: if a file cannot be read.
    """
    run = RunFolder.open(folder)
    progress = _progress(run)
    spaces = {stored["name"]: LabelSpace.from_list(stored["classes"]) for stored in progress["label_spaces"].values()}
    indices = {stored["name"]: int(index) for index, stored in progress["label_spaces"].items()}
    if experience is not None and experience not in spaces:
        raise ConfigError(
            f"experience {experience!r}",
            found="the run has not learned it",
            allowed=", ".join(spaces) or "none so far",
            remedy=nearest(experience, spaces),
        )
    for name, strategy in build_strategies(run.config).items():
        if experience is None and Need.TASK_ID in strategy.requirements():
            raise ConfigError(
                f"strategy {name!r}",
                found=f"it needs {Need.TASK_ID.value}, and no experience is named",
                allowed=", ".join(spaces) or "none so far",
                remedy="Name the experience with --experience.",
            )
    space = LabelSpace()
    for name, part in spaces.items():
        if experience in (None, name):
            space = space.union(part)
    if not len(space):
        raise CheckpointError(
            f"run folder {folder}",
            found="no experience has been learned",
            allowed="a run with at least one learned experience",
            remedy=f"Continue it with 'mmcl resume {folder}'.",
        )
    model = trained_model(run)
    images = torch.stack([model.backbone.preprocess_eval[IMAGE](open_image(path)) for path in files])
    model.label_space = space
    task_ids = None if experience is None else torch.full((len(images),), indices[experience])
    inputs = Inputs({IMAGE: images}, {IMAGE: torch.ones(len(images), dtype=torch.bool)}, task_ids=task_ids)
    with torch.no_grad():
        logits = model.predict(inputs).logits
    assert logits is not None
    best = logits.softmax(dim=1).topk(min(top, len(space)))
    return [
        Prediction(path, [(space.names[i], float(p)) for p, i in zip(row, columns, strict=True)])
        for path, row, columns in zip(files, best.values, best.indices.tolist(), strict=True)
    ]


def export(folder: Path, to: str, out: Path | None = None) -> Path:
    """Write the model of a run so that another tool loads it.

    Args:
        folder: the run folder.
        to: ``"open_clip"``: a folder for ``open_clip.create_model_and_transforms("local-dir:FOLDER")``.
        out: where to; by default ``FOLDER/export-open_clip``.

    Returns:
        The folder written.

    Raises:
        ConfigError: if the format is unknown, or the model has parts that the format cannot hold.
    """
    if to not in FORMATS:
        raise ConfigError(
            f"export to {to!r}", found="no such format", allowed=", ".join(FORMATS), remedy=nearest(to, FORMATS)
        )
    run = RunFolder.open(folder)
    model = trained_model(run)
    extra = [name for name, _ in model.named_parameters() if not name.startswith("backbone.")]
    if extra:
        raise ConfigError(
            f"export of {folder} to {to}",
            found=f"the model has {len(extra)} parameters outside the backbone, such as {extra[0]!r}",
            allowed="models that are an open_clip model and nothing else",
            remedy="Use 'mmcl predict', which uses the whole model.",
        )
    target = out or folder / f"export-{to}"
    model.backbone.export(target)
    return target


def trained_model(run: RunFolder) -> MultimodalModel:
    """The model of the current checkpoint, in evaluation mode."""
    progress = _progress(run)
    config, plugin = run.config, build_plugin(BACKBONES, run.config.backbone)
    strategies, backbone = build_strategies(config), plugin.build()
    _require_same(run, model_settings(config, plugin, strategies, weights_digest(backbone)))
    # strategies may have changed the model: a learner lets them do it again
    model = Learner(
        model=MultimodalModel(backbone),
        scenario=SCENARIOS[run.results["scenario"]],
        strategies=strategies,
        seed=config.seed,
    ).model
    for index, stored in progress["label_spaces"].items():
        model.grow(int(index), LabelSpace.from_list(stored["classes"]), frozenset(stored["modalities"]))
    tensors, _ = run.load([])
    _freeze_as_saved(model, tensors)
    restore_model(model, tensors)
    return model.eval()


def _require_same(run: RunFolder, now: Mapping[str, Any]) -> None:
    """Refuse to put a run's weights into another model; of an earlier version's run nobody knows what it was."""
    if run.read_json("identity.json") is None:
        warnings.warn(f"run folder {run.path} does not say what it was begun with; nothing is compared", Remark, 3)
    elif recorded := recorded_identity(run):
        refuse(f"run folder {run.path}", list(setting_differences(recorded.settings, now)))


def _freeze_as_saved(model: MultimodalModel, tensors: Mapping[str, Any]) -> None:
    """What was frozen in training is not in the checkpoint: it is the pre-trained weight."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in tensors)


def _progress(run: RunFolder) -> dict[str, Any]:
    progress = run.progress
    if progress is None:
        raise CheckpointError(
            f"run folder {run.path}",
            found="the run has no checkpoint",
            allowed="a run that has been evaluated at least once",
            remedy=f"Continue it with 'mmcl resume {run.path}'.",
        )
    return progress
