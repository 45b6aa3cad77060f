"""Use a run after it has ended: predict with its model, or export the weights to another tool's format."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from mmcl.build import build_plugin, build_strategies
from mmcl.checkpoint import Checkpoint
from mmcl.data.asked import AnswerKind, Asked
from mmcl.data.collate import Collator, Prepared
from mmcl.data.label_space import LabelSpace
from mmcl.data.loader import ordered_batches
from mmcl.data.modality import TEXT
from mmcl.data.questions import Question, Questions, questions
from mmcl.errors import CheckpointError, ConfigError, nearest
from mmcl.identity import model_settings, recorded_identity
from mmcl.learning.compose import Need
from mmcl.learning.learner import Learner
from mmcl.learning.weights import restore_model
from mmcl.models.arrival import Arrival
from mmcl.models.digest import weights_digest
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.sites import ADDONS
from mmcl.options import wrong_value
from mmcl.predictions import Prediction
from mmcl.probe import as_evaluated
from mmcl.registry import BACKBONES
from mmcl.remarks import Remark
from mmcl.run_folder import RunFolder
from mmcl.sameness import refuse, setting_differences
from mmcl.signature import checked
from mmcl.stored_json import reading
from mmcl.streams.scenario import NAMED

_COMPUTING = ("device", "precision", "eval_batch_size")  # training settings that say how a model is used


@checked
def predict(
    folder: str | Path,
    files: Any,
    top: int = 5,
    experience: str | None = None,
    *,
    texts: Sequence[str] | None = None,
    batch_size: int | None = None,
    trust: bool = False,
) -> list[Prediction]:
    """Classify with the model of a run, on the run's device and in its precision.

    Args:
        folder: the run folder.
        files: paths of pictures, arrays, folders, CSV files or saved data sets, pictures and arrays themselves, data
            frames, or dictionaries from modality or column to value; one of them or a list (``mmcl.data.questions``).
        top: number of classes to return.
        experience: let only its classes compete; by default those of all experiences learned so far.
        texts: let these compete instead of classes: for a model of pairs, which has learned none.
        batch_size: how many are asked about at once; by default the run's ``eval_batch_size``.
        trust: let code run that the folder names, although nobody has registered it.

    Raises:
        PluginError: if the folder names such code, and it is not trusted.
        ConfigError: if there is no such experience, a number is below 1, or the model cannot compare texts.
        CheckpointError: if nothing has been learned that could be answered with.
        DataError: if something that is asked about is missing, cannot be read, or is of another kind.
    """
    for name, number in (("top", top), ("batch_size", batch_size)):
        if number is not None and number < 1:
            raise wrong_value(f"predict: {name}", number, "1 or more")
    run = RunFolder.open(Path(folder), trust)
    checkpoint = _newest(run)
    stored = checkpoint.progress["label_spaces"]
    known, indices = {s["name"]: s for s in stored.values()}, {s["name"]: int(index) for index, s in stored.items()}
    if experience is not None and experience not in known:
        raise ConfigError(
            f"experience {experience!r}",
            found="the run has not learned it",
            allowed=", ".join(known) or "none so far",
            remedy=nearest(experience, known),
        )
    met = list(known.values()) if experience is None else [known[experience]]
    _require_task(run, experience, list(known))
    modalities = {modality for space in met for modality in space["modalities"]}
    space = _competing(run, met) if texts is None else LabelSpace.of(list(dict.fromkeys(texts)), templates=("{}",))
    asked = questions(files, modalities - {TEXT} if texts else modalities, run.config.benchmark.options.get("columns"))
    task_id = None if experience is None else indices[experience]
    learner = _trained(run, checkpoint)
    scores = _scores(learner, asked, space, task_id, batch_size)
    best = scores.topk(min(top, len(space))).indices
    shares = learner.model.head.confidence(scores).gather(1, best)
    return [
        Prediction(question.name, [(space.names[i], p) for p, i in zip(row, columns, strict=True)])
        for question, row, columns in zip(asked, shares.tolist(), best.tolist(), strict=True)
    ]


def _require_task(run: RunFolder, experience: str | None, known: Sequence[str]) -> None:
    for name, strategy in build_strategies(run.config).items():
        if experience is None and Need.TASK_ID in strategy.requirements():
            raise ConfigError(
                f"strategy {name!r}",
                found=f"it needs {Need.TASK_ID.what}, and no experience is named",
                allowed=", ".join(known) or "none so far",
                remedy="Name the experience with --experience.",
            )


def _competing(run: RunFolder, met: Sequence[Mapping[str, Any]]) -> LabelSpace:
    """The classes of some experiences."""
    space = LabelSpace.joined(LabelSpace.from_list(stored["classes"]) for stored in met)
    if not len(space):
        raise CheckpointError(
            f"run folder {run.path}",
            found="it has learned pairs, which have no classes" if met else "no experience has been learned",
            allowed="classes to choose from, or texts",
            remedy="Name texts that are to be ranked with --texts FILE, one in each line."
            if met
            else f"Continue it with 'mmcl resume {run.path}'.",
        )
    return space


@checked
def export(folder: str | Path, to: str | None = None, out: str | Path | None = None, trust: bool = False) -> Path:
    """Write the model of a run so that another tool loads it.

    Args:
        folder: the run folder.
        to: the format, if it has to be a certain one; that of the backbone. ``"open_clip"`` is a folder for
            ``open_clip.create_model_and_transforms("local-dir:FOLDER")``.
        out: where to; by default ``FOLDER/export-FORMAT``.
        trust: as in ``predict``.

    Returns:
        The folder written.

    Raises:
        ConfigError: if the backbone has another format, or the model has parts that the format cannot hold.
    """
    run = RunFolder.open(Path(folder), trust)
    model = trained_model(run)
    known = model.backbone.export_format
    if to not in (None, known):
        raise ConfigError(
            f"export of {folder} to {to!r}",
            found=f"a backbone that is written in another format, {type(model.backbone).__name__}",
            allowed=known,
            remedy="Leave the format out.",
        )
    names = [name for name, _ in model.named_parameters()]
    extra = [name for name in names if not name.startswith("backbone.") or f".{ADDONS}." in name]
    if extra:
        raise ConfigError(
            f"export of {folder} to {known}",
            found=f"the model has {len(extra)} parameters outside the backbone or added to it, such as {extra[0]!r}",
            allowed="models that are their backbone and nothing else",
            remedy="Use 'mmcl predict', which uses the whole model.",
        )
    target = run.path / f"export-{known}" if out is None else Path(out)
    try:
        model.backbone.export(target)
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"export of {folder} to {known}",
            found=f"{target} cannot be written ({error})",
            allowed="a writable folder with free space",
            remedy="Name another with --out.",
        ) from error
    return target


def trained_model(run: RunFolder) -> MultimodalModel:
    """The model of the current checkpoint, in evaluation mode."""
    return _trained(run, _newest(run)).model.eval()


def _scores(
    learner: Learner, asked: Sequence[Question], space: LabelSpace, task_id: int | None, batch_size: int | None
) -> Tensor:
    """Scores ``[N, C]`` of what is asked about, on the CPU, found as an evaluation finds them."""
    model, backbone, found = learner.model, learner.model.backbone, []
    if not model.head.knows(space):
        raise ConfigError(
            "texts",
            found="a model whose answers are the classes it has learned",
            allowed="texts for models that compare with texts",
            remedy="Leave them out.",
        )
    brought = {modality for question in asked for modality in question.modalities}
    samples = Prepared(Questions(asked), backbone.preprocess_eval)
    size = learner.config.eval_batch_size if batch_size is None else batch_size
    with as_evaluated(learner):
        for batch in ordered_batches(samples, Collator(backbone.specs, brought), batch_size=size):
            task_ids = None if task_id is None else torch.full_like(batch.task_ids, task_id)
            inputs = batch.inputs.replace(task_ids=task_ids, asked=Asked(space))
            logits = learner.predict(inputs.to(learner.device)).logits
            assert logits is not None
            found.append(logits.float().cpu())
    return torch.cat(found)


def _trained(run: RunFolder, checkpoint: Checkpoint) -> Learner:
    """A learner with model and strategies as a checkpoint has them, which computes as the run did."""
    config, plugin = run.config, build_plugin(BACKBONES, run.config.backbone)
    strategies, backbone = build_strategies(config), plugin.build()
    _require_same(run, model_settings(config, plugin, strategies, weights_digest(backbone)))
    results = run.results
    with reading(run.path / "results.json"):
        scenario = NAMED[results["scenario"]]
        training = {name: results["training"][name] for name in _COMPUTING}
    # strategies may have changed the model: a learner lets them do it again
    learner = Learner(
        model=MultimodalModel(backbone), scenario=scenario, strategies=strategies, training=training, seed=config.seed
    )
    model = learner.model
    for index, stored in checkpoint.progress["label_spaces"].items():
        space = LabelSpace.from_list(stored["classes"])
        answers = AnswerKind.CLASS if len(space) else AnswerKind.PARTNER
        model.meet(Arrival(int(index), space, frozenset(stored["modalities"]), answers))
    model.to(learner.device)
    tensors, states = checkpoint.load(list(strategies))
    _freeze_as_saved(model, tensors)
    restore_model(model, tensors)
    for name, strategy in strategies.items():
        strategy.load_state_dict(states[name], learner.device)
    return learner


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


def _newest(run: RunFolder) -> Checkpoint:
    checkpoint = run.newest()
    if checkpoint is None:
        raise CheckpointError(
            f"run folder {run.path}",
            found="the run has no checkpoint",
            allowed="a run that has been evaluated at least once",
            remedy=f"Continue it with 'mmcl resume {run.path}'.",
        )
    return checkpoint
