"""What the features of a backbone promise."""

import torch
from torch import Tensor

from mmcl.data.asked import Asked
from mmcl.data.nested import tensors
from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.models.arrival import Arrival
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.scenario import CIL
from mmcl.testing.check import BrokenPromiseError, Check, NotApplicable, Subject, promise
from mmcl.testing.encoded import encoded_by
from mmcl.testing.laboratory.miniature import miniature, read_by, stream_for, values
from mmcl.testing.laboratory.nested import difference
from mmcl.testing.laboratory.trial import answers

_ROWS = 3
_TOLERANCE = 1e-5  # other batch sizes add up in another order


@promise
def features(backbone: Subject) -> None:
    """Pooled features are as wide as the tower says, a row for each sample, and finite."""
    mini = miniature(backbone)
    for name in mini.towers:
        for rows in (_ROWS, 1):
            with torch.no_grad():
                pooled, tokens = encoded_by(mini, name, read_by(mini, name, rows))
            width = mini.towers[name].width
            if tuple(pooled.shape) != (rows, width) or not pooled.is_floating_point():
                raise BrokenPromiseError(
                    f"{rows} values of {name!r} give {pooled.dtype} of shape {list(pooled.shape)}",
                    f"Give floating-point features of shape {[rows, width]}, or correct the width of the tower.",
                )
            if not bool(pooled.isfinite().all()):
                raise BrokenPromiseError(f"features of {name!r} are not finite", "Look for a division by zero.")
            if tokens is not None and (tokens.ndim != 3 or len(tokens) != rows):
                raise BrokenPromiseError(
                    f"token features of {name!r} have shape {list(tokens.shape)}", "Give [B, L, W]."
                )


@promise
def logit_scale(backbone: Subject) -> None:
    """The logit scale is a positive number."""
    scale = miniature(backbone).logit_scale
    if not isinstance(scale, Tensor) or scale.numel() != 1 or not 0 < float(scale.detach()) < torch.inf:
        raise BrokenPromiseError(f"logit_scale is {scale!r}", "Give a scalar tensor above 0, already exponentiated.")


@promise
def determinism(backbone: Subject) -> None:
    """In evaluation mode the same values always have the same features."""
    mini = miniature(backbone)
    for name in mini.towers:
        with torch.no_grad():
            once, twice = (encoded_by(mini, name, read_by(mini, name, _ROWS)).pooled for _ in range(2))
        if found := difference(once, twice):
            raise BrokenPromiseError(f"features of {name!r}, encoded twice, {found.partition(' ')[2]}", "Obey eval().")


@promise
def independence(backbone: Subject) -> None:
    """The features of a sample do not depend on the other samples of its batch."""
    mini = miniature(backbone)
    for name in mini.towers:
        batch = read_by(mini, name, _ROWS)
        rows = [{modality: value[row : row + 1] for modality, value in batch.items()} for row in range(_ROWS)]
        with torch.no_grad():
            together = encoded_by(mini, name, batch).pooled
            apart = torch.cat([encoded_by(mini, name, row).pooled for row in rows])
        if found := difference(together, apart, _TOLERANCE * max(1.0, float(together.abs().max()))):
            raise BrokenPromiseError(
                f"features of {name!r}, alone and in a batch, {found.partition(' ')[2]}",
                "Let each row pass through the tower by itself in evaluation mode.",
            )


@promise
def distinction(backbone: Subject) -> None:
    """Different values of anything that a tower reads have different features."""
    mini = miniature(backbone)
    for name, tower in mini.towers.items():
        for modality in sorted(tower.reads):
            batch = read_by(mini, name, 2)
            alike = {other: value[:1].expand_as(value) for other, value in batch.items() if other != modality}
            with torch.no_grad():
                pooled = encoded_by(mini, name, {**batch, **alike}).pooled
            if torch.allclose(pooled[0], pooled[1], rtol=1e-6, atol=1e-8):
                raise BrokenPromiseError(
                    f"two different values of {modality!r} have the same features in the tower {name!r}",
                    "Look at 'encode_tower'.",
                )


@promise
def missing_values(backbone: Subject) -> None:
    """What stands in for a missing value changes no score."""
    mini = miniature(backbone)
    if len(mini.specs) == 1:
        raise NotApplicable("it encodes one modality")
    benchmark = stream_for(mini)
    model = MultimodalModel(mini).eval()
    model.meet(Arrival(0, benchmark.label_space, frozenset(mini.specs)))
    first = next(iter(mini.specs))
    present = {name: torch.tensor([True, name != first, name == first]) for name in mini.specs}
    scores = []
    for seed in (1, 2):
        filled = {}
        for name in mini.specs:
            filled[name] = values(mini, name, _ROWS)
            filled[name][~present[name]] = values(mini, name, _ROWS, seed)[~present[name]]
        with torch.no_grad():
            scores.append(model(Inputs(filled, present, asked=Asked(benchmark.label_space))).logits)
    if found := difference(scores[0], scores[1], 1e-6):
        raise BrokenPromiseError(
            f"the scores, with other stand-ins for missing values, {found.partition(' ')[2]}",
            "Give finite features for any value, each modality from its own values alone; in a tower that reads "
            "several, look at inputs.present.",
        )


@promise
def learns(backbone: Subject) -> None:
    """Fine-tuning learns a toy stream with it."""
    miniature(backbone)
    mini = backbone.fresh().miniature()
    benchmark = stream_for(mini)
    learner = Learner(
        model=MultimodalModel(mini),
        scenario=CIL,
        training={"iterations": 20, "lr": 3e-3, "device": "cpu"},
        defaults=benchmark.training,
    )
    first = benchmark.train[0]
    losses = []
    for _ in range(2):
        learner.meet(first)
        with torch.no_grad():
            (batch,) = learner.one_pass(first.samples)
            losses.append(-float(learner.log_likelihood(batch).mean()))
        if len(losses) == 1:
            learner.train(first)
    if not losses[1] < losses[0]:
        raise BrokenPromiseError(
            f"the loss of the first experience is {losses[0]:.3g} before and {losses[1]:.3g} after 20 steps",
            "Look for parameters that need no gradient.",
        )
    learner.train(benchmark.train[1])
    scores = answers(learner, benchmark.test)
    if not all(bool(tensor.isfinite().all()) for _, tensor in tensors(scores)):
        raise BrokenPromiseError(
            "after two experiences the scores are not finite", "Look at 'encode' and 'logit_scale'."
        )


FEATURE_CHECKS: tuple[Check, ...] = (
    features,
    logit_scale,
    determinism,
    independence,
    distinction,
    missing_values,
    learns,
)
