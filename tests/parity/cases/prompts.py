"""S-Prompts: domains found by centroids, and whole runs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmcl_strategies.parameter_efficient.prompts import Prompts, behind_class_token
from mmcl_strategies.parameter_efficient.s_liprompts import SLiPrompts
from mmcl_strategies.routing.centroids import NearestCentroid, distances
from torch import Tensor
from torch.nn import functional

from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.route import Route
from mmcl.data.sample import Batch, Inputs
from mmcl.learning.learner import Learner
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Encoded, Features
from mmcl.models.output import Output
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import DIL

from ..base_clip import base_clip
from ..case import DEFAULT_TOLERANCES, Case, Parity, Tolerance
from ..small_clip import RecordedTokenizer
from ..trajectory import Answers, Notes, RecordedLearner


def check_domain(case: Case) -> None:
    features, query = case.tensor("train_feats_raw"), case.tensor("query_raw")
    euclidean = case.integer("metric") == 1
    router = NearestCentroid(
        features.shape[2],
        clusters=case.arrays["init_centers"].shape[1],
        metric="euclidean" if euclidean else "l1",
        dtype=case.precision,
    )
    for s, of_domain in enumerate(features):
        router.meet(Arrival(s, LabelSpace(), frozenset({IMAGE})))
        router.start = case.tensor("init_centers")[s].double().numpy()
        router.learn(s, of_domain, seed=0, restarts=1)
    case.expect("centroids", router.centres)

    unit = functional.normalize(query, dim=1)
    for name, metric in (("l1", "l1"), ("l2", "euclidean")):
        found = distances(unit, router.centres, metric)  # type: ignore[arg-type]
        case.expect(f"dist_{name}", found)
        case.expect(f"domain_{name}", found.argmin(1))

    present = torch.ones(len(query), dtype=torch.bool)
    encoded = Encoded({IMAGE: Features(query)}, {IMAGE: present}, torch.ones(()))
    route = router(Inputs({IMAGE: query}, {IMAGE: present}), lambda _: encoded)
    case.expect("domain", route.ids)

    positions, patches = case.tensor("pos_embed"), case.tensor("patch_tokens")
    first = case.tensor("cls_token").expand(len(patches), 1, -1)
    tokens = torch.cat([first, patches], dim=1) + positions
    case.expect("prompted_tokens", behind_class_token(tokens, case.tensor("prompt_pool")[route.ids]))
    case.require_all(
        ("centroids", "dist_l1", "dist_l2", "domain_l1", "domain_l2", "domain", "prompted_tokens"),
    )


@dataclass(frozen=True)
class FramedTokenizer(RecordedTokenizer):
    """A text is the row that its number names; without placeholders it is that row without them."""

    context: int = 0

    def __call__(self, texts: Sequence[str]) -> Tensor:
        found = self.rows[[int(re.sub(r"\D", "", text) or 0) for text in texts]].clone()
        for row, text in zip(found, texts, strict=True):
            if "X" not in text:
                row[1:] = torch.cat([row[1 + self.context :], row.new_zeros(self.context)])
        return found


class Ways(Answers):
    """Keeps the way of every test sample too."""

    def reset(self) -> None:
        super().reset()
        self.ways: list[Tensor] = []

    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        super().update(output, batch, label_space)
        assert output.route is not None
        self.ways.append(output.route.ids)


def _stream(case: Case, domains: int) -> Benchmark:
    space = LabelSpace.of([str(c) for c in range(case.integer("hp_n_classes"))], templates=["{}"])
    tests = {IMAGE: case.tensor("in_eval_images")}
    experiences = []
    for t in range(domains):
        images, labels = case.tensor(f"in_images_t{t}"), case.tensor(f"in_labels_t{t}")
        at = "hp_first_" if t == 0 else "hp_"
        training = {
            "epochs": case.integer(f"{at}epochs"),
            "batch_size": labels.shape[1],
            "lr": case.number(f"{at}lr"),
            "weight_decay": case.number(f"{at}weight_decay"),
        }
        samples = TensorSamples({IMAGE: images.flatten(0, 1)}, labels.flatten(), t)
        test = TensorSamples(tests, case.tensor("in_eval_labels"), t)
        experiences.append(ExperienceData(f"part {t}", samples, test, space, frozenset({IMAGE}), training=training))
    return Benchmark(name="recorded", edition="recorded", scenario=DIL, experiences=experiences)


def _orders(case: Case, domains: int) -> list[Tensor]:
    """The batches of each domain in the recorded order, in every epoch."""
    found = []
    for t in range(domains):
        batches, size = case.arrays[f"in_labels_t{t}"].shape
        epochs = case.integer("hp_first_epochs" if t == 0 else "hp_epochs")
        found.append(torch.arange(batches * size).view(batches, size).repeat(epochs, 1))
    return found


def _prompts(learner: Learner) -> list[Prompts]:
    return [module for module in learner.model.modules() if isinstance(module, Prompts)]


def check_run(case: Case) -> None:
    domains, context = case.integer("hp_n_tasks"), case.integer("hp_n_ctx")
    rows = case.tensor("in_class_tokens")
    tokenizer = FramedTokenizer(rows, int(rows[0, 0]), int(rows.max()), context=context)
    stream = _stream(case, domains)
    strategy = SLiPrompts(
        prompt_length=case.integer("hp_prompt_length"),
        context=context,
        clusters=case.integer("hp_n_clusters"),
        restarts=1,
        lr=None,
    )
    notes = Notes(lambda model: torch.zeros(()))
    learner = RecordedLearner(
        orders={"batches": _orders(case, domains)},  # type: ignore[dict-item]
        model=base_clip(case, tokenizer),
        scenario=stream.scenario,
        strategies={"s_liprompts": strategy, "notes": notes},
        training={"optimizer": "sgd", "momentum": case.number("hp_momentum"), "schedule": "cosine_by_epoch"},
    )
    router = learner.model.router
    assert isinstance(router, NearestCentroid)
    image, text = _prompts(learner)
    for t, experience in enumerate(stream.train):
        learner.meet(experience)
        with torch.no_grad():
            image.vectors[str(t)].copy_(case.tensor("in_image_prompts")[t])
            text.vectors[str(t)].copy_(case.tensor("in_text_contexts")[t])
        router.start = _given(case.arrays[f"in_init_centers_t{t}"])
        notes.values.clear()
        learner.train(experience)
        case.expect(f"out_loss_t{t}", notes.curve("task"))
        case.expect(f"out_image_prompt_t{t}", image.vectors[str(t)])
        case.expect(f"out_text_context_t{t}", text.vectors[str(t)])
        case.expect(f"out_centroids_t{t}", router.centres[t])

        answers = Ways()
        learner.evaluate(stream.test[t], answers)
        case.expect(f"out_domain_t{t}", torch.cat(answers.ways))
        case.expect(f"out_logits_t{t}", torch.cat(answers.scores))
        case.expect(f"out_logits_by_domain_t{t}", _by_domain(case, learner, t))
    case.require_all(case.names("out_"))
    for s in range(domains):  # later domains leave earlier ones as they were
        case.expect(f"out_image_prompt_t{s}", image.vectors[str(s)])
        case.expect(f"out_text_context_t{s}", text.vectors[str(s)])
        case.expect(f"out_centroids_t{s}", router.centres[s])


def _given(indices: np.ndarray) -> object:  # type: ignore[type-arg]
    """K-means begins at these samples."""
    return lambda samples, clusters, random_state: samples[indices]


@torch.no_grad()
def _by_domain(case: Case, learner: Learner, last: int) -> Tensor:
    """Scores of all test images with the prompts of each domain learned."""
    images = case.tensor("in_eval_images")
    inputs = Inputs({IMAGE: images}, {IMAGE: torch.ones(len(images), dtype=torch.bool)}, asked=learner.asked)
    found = []
    for s in range(last + 1):
        output = learner.predict(inputs.replace(route=Route.given(torch.full((len(images),), s))))
        assert output.logits is not None
        found.append(output.logits)
    return torch.stack(found)


PARITY = {
    "sprompts_domain": Parity(
        check_domain, {torch.float64: Tolerance(1e-5, 1e-4), torch.float32: Tolerance(1e-5, 1e-4)}
    ),
    "run_sprompts": Parity(check_run, DEFAULT_TOLERANCES),
}
