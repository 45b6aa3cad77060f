"""A whole experience of ZSCL through the real learner, on two linear towers and with data in a prescribed order."""

from collections.abc import Sequence
from pathlib import Path

import torch
from mmcl_strategies.distillation.zscl import ZSCL
from torch import Tensor, nn

from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.data.reference import ReferenceData
from mmcl.data.sample import Inputs
from mmcl.models.backbone import Backbone, Features, Tower
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import TIL

from .case import Case
from .trajectory import Notes, RecordedLearner

NAMES = ("W_img", "b_img", "W_txt", "b_txt")


class TwoTowers(Backbone):
    """``x W_img + b_img`` and ``u W_txt + b_txt``; a text is the number of a row of ``texts``."""

    def __init__(self, weights: dict[str, Tensor], texts: Tensor, scale: float) -> None:
        super().__init__()
        for name in NAMES:
            self.register_parameter(name, nn.Parameter(weights[name].clone()))
        self.texts, self.scale = texts, torch.tensor(scale, dtype=texts.dtype)
        self.specs = {IMAGE: ModalitySpec((len(self.W_img),)), TEXT: ModalitySpec((), torch.int64)}
        width = self.W_img.shape[1]
        self.towers = {name: Tower(self, frozenset({name}), width) for name in (IMAGE, TEXT)}
        self.preprocess_train = self.preprocess_eval = {}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        if name == IMAGE:
            return Features(inputs[IMAGE] @ self.W_img + self.b_img)
        return Features(self.texts[inputs[TEXT]] @ self.W_txt + self.b_txt)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([int(text) for text in texts])

    @property
    def logit_scale(self) -> Tensor:
        return self.scale

    def export(self, folder: Path) -> None:
        raise AssertionError("never exported")


def flat(model: MultimodalModel) -> Tensor:
    return torch.cat([getattr(model.backbone, name).detach().flatten() for name in NAMES])


def check_zscl_run(case: Case) -> None:
    """Compare losses, rates, trajectory and handed-over weights of an experience with the vectors."""
    images, labels, references = (case.tensor(f"in_{name}") for name in ("images", "labels", "ref_images"))
    classes, steps = case.tensor("in_class_tokens"), case.integer("hp_total_iterations") + 1
    texts = torch.cat([classes, case.tensor("in_ref_texts")])
    model = MultimodalModel(
        TwoTowers({n: case.tensor(f"in_teacher_{n}") for n in NAMES}, texts, case.number("hp_logit_scale"))
    )
    stream = TensorSamples({IMAGE: images.flatten(0, 1)}, labels.flatten())
    outside = TensorSamples({IMAGE: references.flatten(0, 1)}, torch.arange(steps * references.shape[1]))
    weight, notes = case.number("hp_lambda"), Notes(flat)
    zscl = ZSCL(
        temperature=case.number("hp_T"),
        image_weight=weight * case.integer("hp_use_image"),
        text_weight=weight * case.integer("hp_use_text"),
        consolidation=case.number("hp_l2"),
        average_every=case.integer("hp_avg_freq"),
    )
    learner = RecordedLearner(
        orders={name: in_order(drawn) for name, drawn in (("batches", images), ("zscl", references))},
        model=model,
        scenario=TIL,
        strategies={"zscl": zscl, "notes": notes},
        training={
            "iterations": steps,
            "lr": case.number("hp_lr"),
            "betas": [0.9, case.number("hp_beta2")],
            "weight_decay": case.number("hp_wd"),
            "warmup": case.integer("hp_warmup"),
            "label_smoothing": case.number("hp_ls"),
        },
        reference=ReferenceData(outside, [str(len(classes) + i) for i in range(len(texts) - len(classes))]),
    )
    with torch.no_grad():
        for name in NAMES:
            getattr(model.backbone, name).copy_(case.tensor(f"in_start_{name}"))
    space = LabelSpace.of([str(i) for i in range(len(classes))], templates=["{}"])
    learner.train(Experience(ExperienceData("task", stream, stream, space), stream, 0))

    case.expect("out_ce", notes.curve("task"))
    case.expect("out_lr", notes.curve("lr"))
    case.expect("out_theta_traj", notes.curve("theta"))
    case.expect("out_theta_final", notes.curve("theta")[-1])
    case.expect("out_theta_we", flat(model))
    case.expect("out_n_we_updates", len(range(0, steps, case.integer("hp_avg_freq"))))
    if case.number("hp_l2"):
        case.expect("out_l2", notes.curve("zscl/consolidation") / case.number("hp_l2"))
    for term, name in (("image", "out_dist_img"), ("text", "out_dist_txt")):
        if weight * case.integer(f"hp_use_{term}"):
            case.expect(name, notes.curve(f"zscl/{term}") / weight)
    case.expect("out_total", notes.curve("total"))


def in_order(drawn: Tensor) -> Tensor:
    """``int64[1, S, B]``, one experience that takes the samples ``[S, B, ...]`` one after the other."""
    return torch.arange(drawn.shape[0] * drawn.shape[1]).view(1, *drawn.shape[:2])
