"""DIKI: a branch of attention, strengths by likelihood, and whole runs."""

import torch
from mmcl_strategies.parameter_efficient.diki import DIKI, OWNER
from mmcl_strategies.parameter_efficient.residual_attention import ResidualAttention
from mmcl_strategies.routing.gaussian import GaussianLikelihood, log_densities, strength_of, unit
from mmcl_strategies.routing.votes import majority
from torch import Tensor, nn

from mmcl.backbones.open_clip_sites import merged, projected, queried
from mmcl.data.asked import Asked
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Encoded, Features
from mmcl.models.sites import Attention, Here
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import Scenario

from ..base_clip import base_clip
from ..case import DEFAULT_TOLERANCES, Case, Parity, Tolerance
from ..small_clip import RecordedTokenizer
from ..trajectory import Notes, RecordedLearner

HIDDEN = Scenario("MTIL", task_id_known_at_test=False, label_space_at_test="own", modalities_change=False)


def check_attention(case: Case) -> None:
    _check_branch(case)
    _check_calibration(case)
    names = ["out", "out_frozen", "grad_x", "grad_prefix_pool", "means", "covs", "log_probs", "best_task"]
    case.require_all([*names, "image_weight", "text_weight", "majority_task"])


TORCHS = Attention(queried, projected, merged)


def _check_branch(case: Case) -> None:
    x, pool, ids = case.leaf("x"), case.tensor("prefix_pool"), case.tensor("task_ids")
    attention = nn.MultiheadAttention(x.shape[2], case.integer("n_heads"), batch_first=True, dtype=case.precision)
    with torch.no_grad():
        attention.in_proj_weight.copy_(case.tensor("in_proj_w"))
        attention.in_proj_bias.copy_(case.tensor("in_proj_b"))
        attention.out_proj.weight.copy_(case.tensor("out_w"))
        attention.out_proj.bias.copy_(case.tensor("out_b"))
    branch = ResidualAttention(pool.shape[2], x.shape[2], TORCHS, dtype=case.precision)
    for t, prefix in enumerate(pool):
        branch.meet(Arrival(t, LabelSpace(), frozenset({IMAGE})))
        branch.prefixes[str(t)].data.copy_(prefix)
    causal = torch.full((x.shape[1],) * 2, -torch.inf, dtype=case.precision).triu(1) if case.integer("causal") else None
    frozen, _ = attention(x, x, x, need_weights=False, attn_mask=causal)
    case.expect("out_frozen", frozen)
    strength = case.tensor("weight") if case.integer("use_weight") else torch.ones(len(x))
    rows = Inputs({IMAGE: x}, {IMAGE: torch.ones(len(x), dtype=torch.bool)}, route=Route(ids, strength))
    out = branch(Here(frozen, x, attention), rows)
    case.expect("out", out)
    (out * case.tensor("grad_out")).sum().backward()
    tolerance, case.tolerance = case.tolerance, Tolerance(1e-5, 1e-3)
    case.expect("grad_x", x.grad)
    found = [branch.prefixes[str(t)].grad for t in range(len(pool))]
    case.expect(
        "grad_prefix_pool", torch.stack([torch.zeros_like(pool[0]) if grad is None else grad for grad in found])
    )
    case.tolerance = tolerance


def _check_calibration(case: Case) -> None:
    features, queries = case.tensor("train_feats"), case.tensor("query_feats")
    router = GaussianLikelihood(features.shape[2], granularity="batch", divisor=case.number("logp_divisor"))
    for t, of_task in enumerate(features):
        router.meet(Arrival(t, LabelSpace(), frozenset({IMAGE})))
        router.learn(t, of_task)
    case.expect("means", router.means)
    case.expect("covs", router.factors @ router.factors.mT)
    found = log_densities(unit(queries), router.means, router.factors)
    tolerance, case.tolerance = case.tolerance, Tolerance(1e-3, 1e-4)
    case.expect("log_probs", found)
    case.tolerance = tolerance
    best, which = found.max(1)
    case.expect("best_task", which)
    case.expect("image_weight", strength_of(best, case.number("logp_divisor")))

    present = torch.ones(len(queries), dtype=torch.bool)
    encoded = Encoded({IMAGE: Features(queries)}, {IMAGE: present}, torch.ones(()))
    route: Route = router(Inputs({IMAGE: queries}, {IMAGE: present}), lambda _: encoded)
    case.expect("image_weight", route.strength)
    case.expect("majority_task", majority(which))
    assert route.ids.tolist() == [case.integer("majority_task")] * len(queries)
    assert len(route.strength_of_prompts.unique()) == 1
    case.expect("text_weight", route.strength_of_prompts[0])
    router.granularity = "sample"
    route = router(Inputs({IMAGE: queries}, {IMAGE: present}), lambda _: encoded)
    case.expect("best_task", route.ids)


def check_run(case: Case) -> None:
    tasks = case.integer("hp_n_tasks")
    tokens = [case.tensor(f"in_class_tokens_d{d}") for d in range(tasks + 1)]
    spaces, first = [], 0
    for rows in tokens:
        spaces.append(LabelSpace.of([str(first + c) for c in range(len(rows))], first_id=first, templates=["{}"]))
        first += len(rows)
    experiences, orders = [], []
    for t in range(tasks):
        images, labels = case.tensor(f"in_images_t{t}"), case.tensor(f"in_labels_t{t}")
        samples = TensorSamples({IMAGE: images.flatten(0, 1)}, labels.flatten() + spaces[t].ids[0], t)
        experiences.append(ExperienceData(f"task {t}", samples, samples, spaces[t], frozenset({IMAGE})))
        orders.append(torch.arange(labels.numel()).view(labels.shape).repeat(case.integer("hp_epochs"), 1))
    stream = Benchmark(name="recorded", edition="recorded", scenario=HIDDEN, experiences=experiences)
    strategy = DIKI(
        depth=case.integer("hp_depth"),
        length=case.integer("hp_prefix_length"),
        divisor=case.number("hp_logp_divisor"),
        jitter=case.number("hp_jitter"),
        lr=None,
    )
    notes = Notes(lambda model: torch.zeros(()))
    learner = RecordedLearner(
        orders={"batches": orders},  # type: ignore[dict-item]
        model=base_clip(case, RecordedTokenizer(torch.cat(tokens))),
        scenario=HIDDEN,
        strategies={OWNER: strategy, "notes": notes},
        training={
            "epochs": case.integer("hp_epochs"),
            "batch_size": orders[0].shape[1],
            "lr": case.number("hp_lr"),
            "optimizer": "sgd",
            "momentum": 0.0,
            "schedule": "cosine_by_step",
            "lr_end": case.number("hp_final_lr_factor"),
        },
    )
    router = learner.model.router
    assert isinstance(router, GaussianLikelihood)
    for t, experience in enumerate(stream.train):
        learner.meet(experience)
        with torch.no_grad():
            for tower in (IMAGE, TEXT):
                for layer, branch in enumerate(branches(learner, tower)):
                    branch.prefixes[str(t)].copy_(case.tensor(f"in_prefix_{tower}")[t, layer])
        learner.train(experience)
        for earlier in range(t + 1):  # later tasks leave earlier ones as they were
            for tower in (IMAGE, TEXT):
                found = [branch.prefixes[str(earlier)] for branch in branches(learner, tower)]
                case.expect(f"out_prefix_{tower}_t{earlier}", torch.stack(found))
            case.expect(f"out_mean_t{earlier}", router.means[earlier])
            case.expect(f"out_cov_t{earlier}", router.factors[earlier] @ router.factors[earlier].mT)
        expect_answers(case, learner, t, spaces)
    case.expect("out_loss", notes.curve("task").view(tasks, -1))
    case.require_all(case.names("out_"))


def branches(learner: Learner, tower: str) -> list[ResidualAttention]:
    """Those of a tower, in the order of blocks."""
    sites = learner.model.backbone.sites_of(tower, "attention")
    holders = [getattr(site.exit, "addons", {}) for site in sites]
    return [holder[OWNER] for holder in holders if OWNER in holder]


@torch.no_grad()
def expect_answers(case: Case, learner: Learner, t: int, spaces: list[LabelSpace]) -> None:
    """Ways, strengths and logits of every evaluation batch: its task given, or found for images or for the batch."""
    router, model = learner.model.router, learner.model.eval()
    assert isinstance(router, GaussianLikelihood)
    ways: dict[str, list[Tensor]] = {"sample": [], "batch": []}
    strengths = []
    for d, batch in enumerate(case.tensor("in_eval_images")):
        inputs = Inputs({IMAGE: batch}, {IMAGE: torch.ones(len(batch), dtype=torch.bool)}, asked=Asked(spaces[d]))
        given = [Route.given(torch.full((len(batch),), way)) for way in range(t + 1)]
        by_task = [model.predict(inputs.replace(route=way)).logits for way in given]
        case.expect(f"out_logits_by_task_t{t}_d{d}", torch.stack(by_task))  # type: ignore[arg-type]
        for granularity, found in ways.items():
            router.granularity = granularity  # type: ignore[assignment]
            output = model.predict(inputs)
            case.expect(f"out_logits_{granularity}_t{t}_d{d}", output.logits)
            assert output.route is not None
            found.append(output.route.ids)
        strengths.append(output.route.strength_of_prompts[0])
    case.expect(f"out_task_sample_t{t}", torch.stack(ways["sample"]))
    case.expect(f"out_task_batch_t{t}", torch.stack(ways["batch"])[:, 0])
    case.expect(f"out_text_weight_t{t}", torch.stack(strengths))


PARITY = {
    "diki_residual_attention": Parity(
        check_attention, {torch.float64: Tolerance(1e-5, 1e-4), torch.float32: Tolerance(1e-5, 1e-4)}
    ),
    "run_diki": Parity(check_run, DEFAULT_TOLERANCES),
}
