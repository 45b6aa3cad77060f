"""Every term is what its definition says, at two values of each option that it depends on."""

from functools import cache
from typing import Any

import pytest
import torch

from mmcl.streams.scenario import CIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_pairs

from . import definitions as of
from .script import Definition, Moment, scripted
from .variants import SMALL, kinds

FAMILY = ("ewc", "ewch", "ewc_plus_plus", "online_ewc")
Options = dict[str, Any]

# strategy, definition, the values of options that are compared, other options
CASES: tuple[tuple[str, Definition, Options, Options], ...] = (
    ("coda_prompt", of.coda_prompt, {"orthogonality": (0.1, 0.3), "length": (4, 6)}, {}),
    ("cpe_clip", of.cpe_clip, {"length": (2, 3)}, {}),
    ("ctp", of.ctp, {"temperature": (0.07, 0.3), "cmc_weight": (1.0, 3.0)}, {"queue": 8}),
    ("ctp", of.ctp, {"cross_weight": (1.0, 3.0), "same_weight": (1.0, 3.0)}, {"queue": 8}),
    ("ctp", of.ctp, {"momentum": (0.9, 0.5), "share": (0.5, 0.1), "first_momentum": (0.995, 0.6)}, {"queue": 8}),
    ("dgr", of.dgr, {"temperature": (2.0, 5.0), "ratio": (0.5, 0.2)}, {"targets": "soft"}),
    ("dgr", of.dgr, {"targets": ("hard", "soft"), "ratio": (None, 0.2)}, {}),
    ("distill", of.distill, {"temperature": (2.0, 5.0), "form": ("kl", "ce"), "strength": (1.0, 3.0)}, {}),
    ("distill", of.distill, {"reduction": ("mean", "sum"), "squared_temperature": (False, True)}, {}),
    ("distill", of.distill, {"classes": ("old", "all")}, {}),
    ("distill", of.distill, {"teacher": ("previous", "initial")}, {"kind": "feature"}),
    ("distill", of.distill, {"form": ("mse", "cosine"), "normalize": (None, False)}, {"kind": "feature"}),
    ("distill", of.distill, {"temperature": (None, 0.5)}, {"kind": "feature", "form": "dimensions"}),
    ("distill", of.distill, {"normalize": (None, True)}, {"kind": "feature", "form": "length"}),
    ("distill", of.distill, {"rate": (None, 0.5)}, {"kind": "feature", "teacher": "momentum"}),
    ("distill", of.distill, {"share": (None, 0.1)}, {"kind": "feature", "teacher": "interpolated"}),
    ("distill", of.distill, {"share": (None, 0.1), "rate": (None, 0.5)}, {"kind": "feature", "teacher": "compatible"}),
    ("distill", of.distill, {"form": ("same", "gram"), "reduction": ("mean", "sum")}, {"kind": "relation"}),
    ("dualprompt", of.dualprompt, {"pull": (0.1, 0.3)}, {}),
    ("ewch", of.penalty, {"prior": (0.0, 0.5)}, {}),
    ("feature_replay", of.feature_replay, {"strength": (1.0, 3.0)}, {}),
    ("fwd_prompt", of.fwd_prompt, {"pull": (0.1, 0.3), "top_k": (2, 1)}, {}),
    ("hat", of.hat, {"s_max": (400.0, 50.0), "sparsity": (0.75, 2.0)}, {"hidden": (6, 5)}),
    ("icarl", of.icarl, {"temperature": (2.0, 5.0)}, {"loss": "ce_kd"}),
    ("icarl", of.icarl, {"loss": ("bce", "ce_kd")}, {}),
    ("incclip", of.incclip, {"temperature": (2.0, 5.0), "strength": (1.0, 3.0)}, {}),
    ("kdr", of.kdr, {"temperature": (1.0, 0.3), "strength": (0.1, 0.3), "margin": (0.2, 0.4)}, {}),
    ("l2p", of.l2p, {"pull": (0.1, 0.3), "top_k": (2, 1), "batchwise": (False, True)}, {}),
    ("lwf", of.lwf, {"temperature": (2.0, 5.0), "strength": (1.0, 3.0), "prompts": ("old", "current")}, {}),
    ("lwf", of.lwf, {"texts": ("own", "frozen"), "temperature": (2.0, 5.0)}, {"samples": "second"}),
    ("lwf_vr", of.lwf_vr, {"temperature": (2.0, 5.0), "strength": (1.0, 3.0)}, {}),
    ("modx", of.modx, {"strength": (None, 60.0)}, {}),
    ("online_ewc", of.penalty, {"gamma": (0.95, 0.4), "decay_in_loss": (True, False)}, {}),
    ("rapf", of.rapf, {"threshold": (2.1, 0.0), "beta": (0.3, 0.5), "margin": (0.5, 0.9)}, {}),
    ("rapf", of.rapf, {"shrinkage": (False, True), "jitter": (1e-4, 0.3), "old_classes": (2, 3)}, {}),
    ("zscl", of.zscl, {"temperature": (2.0, 5.0)}, {"image_image_weight": 0.3, "feature_weight": 0.4}),
    ("zscl", of.zscl, {"teacher_share": (0.8, 0.3)}, {"teacher": "interpolated", "text_weight": 2.0}),
    ("zscl", of.zscl, {"consolidation": (1.0, 3.0), "image_weight": (1.0, 3.0)}, {"text_weight": 2.0}),
    *((name, of.penalty, {"strength": (1000.0, 3000.0)}, {}) for name in FAMILY),
)


def settings(options: Options, others: Options) -> list[Options]:
    """The first value of each option; and the second value of one option after the other."""
    first = {name: values[0] for name, values in options.items()}
    return [{**first, **others}, *({**first, name: values[1], **others} for name, values in options.items())]


@cache
def run(name: str, definition: Definition, scenario: str, options: tuple[tuple[str, Any], ...]) -> list[Moment]:
    strategy: Any = kinds()[name](**{**SMALL.get(name, {}), **dict(options)})
    pairs, told = {"ctp", "incclip", "kdr", "modx"}, {"hat", "kdr"}
    chosen = TIL if name in told or scenario == "TIL" else CIL
    benchmark = toy_pairs(chosen, 2) if name in pairs else toy_benchmark(chosen, 3)
    if name in FAMILY:
        benchmark = toy_benchmark(chosen, 2)
    return scripted(strategy, benchmark, definition)


def moments(name: str, definition: Definition, options: Options, scenario: str = "") -> list[Moment]:
    return run(name, definition, scenario, tuple(sorted(options.items(), key=lambda item: item[0])))


def assert_defined(found: list[Moment], missing: frozenset[str] = frozenset()) -> None:
    compared: set[str] = set()
    for moment in found:
        for term, expected in moment.expected.items():
            size = float(expected.abs())
            torch.testing.assert_close(moment.terms[term], expected, rtol=2e-3, atol=1e-5 * size + 1e-7, msg=term)
            compared.add(term)
    assert compared >= {term for moment in found for term in moment.terms} - {"task"} - missing


@pytest.mark.parametrize(("name", "definition", "options", "others"), CASES)
def test_terms_are_those_of_the_definition_whatever_the_options(
    name: str, definition: Definition, options: Options, others: Options
) -> None:
    missing = frozenset({"replay"} if name == "feature_replay" else ())  # see test_data
    for chosen in settings(options, others):
        assert_defined(moments(name, definition, chosen), missing)


@pytest.mark.parametrize(("name", "definition", "options", "others"), CASES)
def test_each_of_these_options_changes_a_term(
    name: str, definition: Definition, options: Options, others: Options
) -> None:
    plain, *changed = (moments(name, definition, chosen) for chosen in settings(options, others))
    for found in changed:
        values = [{n: float(v) for n, v in moment.terms.items()} for run_ in (plain, found) for moment in run_]
        assert values[: len(plain)] != values[len(plain) :]


@pytest.mark.parametrize("scenario", [CIL, TIL], ids=str)
def test_terms_of_lwf_on_linear_units_have_one_direction_and_no_squared_temperature(scenario: Any) -> None:
    for temperature in (2.0, 5.0):
        strategy: Any = kinds()["lwf"](temperature=temperature, strength=0.7, warmup_epochs=0)
        found = scripted(strategy, toy_benchmark(scenario, 3), of.lwf_on_linear_units, linear=True)
        assert_defined(found)
        assert set(found[-1].terms) == {"task", "logits"}


def test_where_the_experience_is_known_each_old_one_has_a_softmax_of_its_own() -> None:
    assert_defined(moments("lwf", of.lwf, {"temperature": 3.0}, "TIL"))


@pytest.mark.parametrize(
    ("name", "definition", "options"),
    [
        ("coda_prompt", of.coda_prompt, {}),
        ("cpe_clip", of.cpe_clip, {}),
        ("dgr", of.dgr, {"targets": "hard"}),
        ("dgr", of.dgr, {"targets": "soft"}),
        ("dualprompt", of.dualprompt, {}),
        ("feature_replay", of.feature_replay, {}),
        ("icarl", of.icarl, {"loss": "ce_kd"}),
        ("l2p", of.l2p, {}),
        ("rapf", of.rapf, {}),
    ],
)
def test_labels_are_smoothed_where_they_are_labels(name: str, definition: Definition, options: Options) -> None:
    strategy: Any = kinds()[name](**{**SMALL.get(name, {}), **options})
    found = scripted(strategy, toy_benchmark(CIL, 2), definition, label_smoothing=0.3)
    assert_defined(found, frozenset({"replay"} if name == "feature_replay" else ()))
