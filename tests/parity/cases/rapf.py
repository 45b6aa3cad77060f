"""RAPF: its formulas, and a whole run through the learner."""

from collections.abc import Sequence

import torch
from mmcl_strategies.maths.gaussian import samples, statistics, widened_by_means
from mmcl_strategies.parameter_efficient.confusable import hard_pairs, hinge, text_distances
from mmcl_strategies.parameter_efficient.linear_adapter import LinearAdapter
from mmcl_strategies.parameter_efficient.rapf import OWNER, RAPF
from mmcl_strategies.parameter_efficient.singular_fusion import singularly_fused
from torch import Tensor

from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL

from ..base_clip import base_clip
from ..case import DEFAULT_TOLERANCES, Case, Parity, Tolerance
from ..small_clip import RecordedTokenizer
from ..trajectory import Answers, Notes, RecordedLearner

LOOSE = Tolerance(1e-4, 1e-3)


def check_fusion(case: Case) -> None:
    strict, case.tolerance = case.tolerance, LOOSE
    case.expect("w_fused", singularly_fused(case.tensor("w_old"), case.tensor("w_new"), case.number("mix_bias")))
    text, n_old = case.tensor("text_features"), case.integer("n_old")
    distances = text_distances(text[:n_old], text[n_old:])
    case.expect("text_dist", distances)
    case.expect("hard_pairs", hard_pairs(distances, case.number("threshold")) + torch.tensor([0, n_old]))

    case.tolerance = strict
    mean, covariance = statistics(case.tensor("class_feats"), 1e-4)
    wide = widened_by_means(covariance)
    case.expect("class_mean", mean)
    case.expect("class_cov", covariance)
    case.expect("class_cov_shrunk", wide)
    case.tolerance = LOOSE
    case.expect("sampled", samples(mean, torch.linalg.cholesky(wide), case.tensor("noise")))

    case.tolerance = strict
    features = case.leaf("edge_feats")
    loss = hinge(features, text[case.tensor("edge_pos")], text[case.tensor("edge_neg")], case.number("margin"))
    loss.backward()  # type: ignore[no-untyped-call]
    case.expect("hinge", loss)
    case.expect("grad_edge_feats", features.grad)
    case.require_all(
        ("w_fused", "text_dist", "hard_pairs", "class_mean", "class_cov", "class_cov_shrunk", "sampled", "hinge"),
    )


class Recorded:
    """What was drawn in the recorded run, in its order.

    Attributes:
        used: how many of the normal rows.
    """

    def __init__(self, case: Case) -> None:
        self.case, self.used = case, 0

    def shuffled(self, learner: Learner, epoch: int, count: int) -> Sequence[int]:
        """Classes are numbered in the order of arrival, as their Gaussians are."""
        order: list[int] = self.case.tensor(f"in_class_list_t{learner.current.index}")[epoch].tolist()
        assert len(order) == count
        return order

    def noise(self, learner: Learner, purpose: str, rows: int, width: int) -> Tensor:
        found = self.case.tensor("in_draws")[self.used : self.used + rows]
        self.used += rows
        assert found.shape == (rows, width)
        return found


class Trained(StrategyPlugin):
    """Keeps the layer as the last step has left it, before it is fused; and the terms of every step."""

    def __init__(self) -> None:
        self.weight = torch.empty(0)

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        self.weight = adapter_of(learner).layer.weight.detach().clone()


def adapter_of(learner: Learner) -> LinearAdapter:
    (adapter,) = (module for module in learner.model.modules() if isinstance(module, LinearAdapter))
    return adapter


def stream(case: Case) -> Benchmark:
    """An experience for each task; every test set has the images of the first tasks, up to its own."""
    counts = case.arrays["in_classes_per_task"].tolist()
    images, experiences = case.tensor("in_eval_images"), []
    for t, count in enumerate(counts):
        space = LabelSpace.of(
            [str(sum(counts[:t]) + c) for c in range(count)], first_id=sum(counts[:t]), templates=["{}"]
        )
        train = TensorSamples({IMAGE: case.tensor(f"in_images_t{t}")}, case.tensor(f"in_labels_t{t}"), t)
        rows = images[: len(images) // len(counts) * (t + 1)]
        test = TensorSamples({IMAGE: rows}, case.tensor("in_eval_labels")[: len(rows)], t)
        experiences.append(ExperienceData(f"task {t}", train, test, space, frozenset({IMAGE})))
    return Benchmark(name="recorded", edition="recorded", scenario=CIL, experiences=experiences)


def orders(case: Case, tasks: int) -> list[Tensor]:
    """The batches of each task, the last of an epoch filled up with -1."""
    size, found = case.integer("hp_batch_size"), []
    for t in range(tasks):
        epochs = case.tensor(f"in_batch_order_t{t}")
        room = -epochs.shape[1] % size
        found.append(torch.nn.functional.pad(epochs, (0, room), value=-1).view(-1, size))
    return found


def check_run(case: Case) -> None:
    tasks, benchmark, recorded = case.integer("hp_n_tasks"), stream(case), Recorded(case)
    strategy = RAPF(
        threshold=case.number("hp_threshold"),
        mix_bias=case.number("hp_mix_bias"),
        beta=case.number("hp_beta"),
        old_classes=case.integer("hp_old_classes_per_batch"),
        shrinkage=bool(case.integer("hp_shrinkage")),
        margin=case.number("hp_margin"),
        jitter=case.number("hp_cov_jitter"),
        lr=None,
    )
    strategy._shuffled, strategy._noise = recorded.shuffled, recorded.noise
    trained, notes = Trained(), Notes(lambda model: torch.zeros(()))
    learner = RecordedLearner(
        orders={"batches": orders(case, tasks)},  # type: ignore[dict-item]
        model=base_clip(case, RecordedTokenizer(case.tensor("in_class_tokens"))),
        scenario=CIL,
        strategies={OWNER: strategy, "trained": trained, "notes": notes},
        training={
            "epochs": case.integer("hp_epochs"),
            "batch_size": case.integer("hp_batch_size"),
            "lr": case.number("hp_lr"),
            "betas": (case.number("hp_beta1"), case.number("hp_beta2")),
            "schedule": "constant",
            "milestones": case.arrays["hp_milestones"].tolist(),
        },
    )
    weight = adapter_of(learner).layer.weight
    with torch.no_grad():
        weight.copy_(case.tensor("in_adapter"))
    first, hinges = 0, []
    for t, experience in enumerate(benchmark.train):
        case.expect(f"out_rows_before_t{t}", recorded.used)
        learner.train(experience)
        pairs = [(strategy.state.targets[k], new) for k, new in strategy._pairs]
        case.expect(f"out_hard_pairs_t{t}", torch.tensor(pairs, dtype=torch.long).view(-1, 2))
        case.expect(f"out_adapter_trained_t{t}", trained.weight)
        case.expect(f"out_adapter_t{t}", weight)
        case.expect(f"out_means_t{t}", torch.stack(strategy.state.means[first:]))
        case.expect(f"out_covs_t{t}", torch.stack(strategy.state.covariances[first:]))
        first = len(strategy.state.means)
        steps = len(orders(case, tasks)[t])
        hinges += notes.values.pop(f"{OWNER}/hinge", [torch.zeros((), dtype=case.precision)] * steps)
        answers = Answers()
        learner.evaluate(benchmark.test[t], answers)
        case.expect(f"out_logits_t{t}", torch.cat(answers.scores))
    case.expect("out_rows_used", recorded.used)
    case.expect("out_ce", notes.curve("task"))
    case.expect("out_hinge", torch.stack(hinges))
    case.require_all(case.names("out_"))


PARITY = {
    "rapf_fusion": Parity(check_fusion, {torch.float64: Tolerance(1e-5, 1e-4), torch.float32: Tolerance(1e-5, 1e-4)}),
    "run_rapf": Parity(check_run, DEFAULT_TOLERANCES),
}
