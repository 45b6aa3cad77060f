"""What fits together, and what is refused before anything is loaded."""

import pytest
from mmcl_strategies.architecture.hat import HAT
from mmcl_strategies.baselines.joint import Joint
from mmcl_strategies.distillation.lwf import LwF
from mmcl_strategies.distillation.zscl import ZSCL
from mmcl_strategies.parameter_efficient.moe_adapters import MoEAdapters
from mmcl_strategies.parameter_efficient.rail import RAIL
from mmcl_strategies.parameter_efficient.rapf import RAPF
from mmcl_strategies.parameter_efficient.s_liprompts import SLiPrompts
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.replay.replay import Replay

from mmcl.errors import CompositionError
from mmcl.learning.compose import Need, Surroundings
from mmcl.learning.composition import check_composition, consolidation_order
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import CIL, GDIL, MDTIL, SCENARIOS, TIL, Scenario

CLIP = frozenset({"image", "text"})


def towers(modalities: frozenset[str] = CLIP) -> frozenset[frozenset[str]]:
    return frozenset(frozenset({name}) for name in modalities)


def check(*strategies: StrategyPlugin, modalities: frozenset[str] = CLIP, reference: bool | None = None) -> None:
    names = [type(strategy).__name__.lower() for strategy in strategies]
    check_composition(strategies, names, Surroundings(TIL, towers(modalities), reference))


def test_additive_strategies_compose_in_any_number() -> None:
    check(EWC(), LwF(), ZSCL(), Replay())


def test_two_that_build_the_batches_are_refused_with_both_names_and_the_slot() -> None:
    with pytest.raises(
        CompositionError, match=r"'replay' and 'joint' both build the training batches \(slot BATCHES\)"
    ):
        check(Replay(), Joint())


def test_a_need_that_is_not_met_is_named() -> None:
    with pytest.raises(CompositionError, match=r"'zscl'.*needs a backbone with a text encoder"):
        check(ZSCL(), modalities=frozenset({"image"}))
    with pytest.raises(CompositionError, match=r"'zscl'.*needs a backbone with an image encoder"):
        check(ZSCL(), modalities=frozenset({"text"}))
    with pytest.raises(CompositionError, match=r"'zscl'.*needs reference images"):
        check(ZSCL(), reference=False)


def test_an_option_can_meet_a_need() -> None:
    check(ZSCL(reference="some/folder"), reference=False)


def test_what_is_not_known_yet_is_not_refused() -> None:
    check_composition([ZSCL()], ["zscl"], Surroundings(CIL, towers(), None))
    check_composition([ZSCL()], ["zscl"], Surroundings(GDIL))


def test_open_answers_need_a_backbone_that_writes() -> None:
    with pytest.raises(CompositionError, match=r"scenario 'GDIL': it needs a backbone that writes text"):
        check_composition([EWC()], ["ewc"], Surroundings(GDIL, towers(), writes=False))
    check_composition([EWC()], ["ewc"], Surroundings(GDIL, towers(), writes=True))


def test_every_modality_of_the_stream_needs_an_encoder() -> None:
    with pytest.raises(CompositionError, match=r"modality 'audio': .* Allowed: streams of image, text"):
        check_composition([], [], Surroundings(MDTIL, towers(), modalities=frozenset({"audio", "image"})))
    check_composition([], [], Surroundings(MDTIL, towers(), modalities=CLIP))


class Knowing(StrategyPlugin):
    needs = frozenset({Need.TASK_ID})


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_the_task_id_is_there_where_the_scenario_gives_it_at_test_time(scenario: Scenario) -> None:
    around = Surroundings(scenario, writes=True)
    if scenario in (TIL, MDTIL):
        check_composition([Knowing()], ["knowing"], around)
    else:
        with pytest.raises(CompositionError, match=r"'knowing': it needs the task id at test time.*TIL or MDTIL"):
            check_composition([Knowing()], ["knowing"], around)


def test_a_scenario_that_nobody_has_named_may_give_the_task_id() -> None:
    check_composition([Knowing()], ["knowing"], Surroundings())


class Patient(StrategyPlugin):
    order = "in turn"


def test_the_whole_stream_at_once_and_experiences_in_turn_do_not_go_together() -> None:
    check(Patient(), EWC())
    check(Joint(), EWC())
    with pytest.raises(
        CompositionError, match=r"'joint' learns all experiences at once, and 'patient' one after the other"
    ):
        check(Patient(), Joint())


class Regression(StrategyPlugin):
    fixed_features = True


class Adapters(StrategyPlugin):
    adapts = True


def test_what_relies_on_fixed_features_is_refused_beside_what_adapts_them() -> None:
    check(Regression(), EWC())
    check(Adapters(), EWC())
    for both in ((Regression(), Adapters()), (Adapters(), Regression())):
        with pytest.raises(
            CompositionError,
            match=r"'regression' learns from features that stay .* 'adapters' .*Allowed: one of the two\. Keep one",
        ):
            check(*both)


def test_the_strategies_at_hand_say_whether_they_adapt_features() -> None:
    assert MoEAdapters().adapts
    assert SLiPrompts().adapts
    assert {kind: HAT(network=kind).adapts for kind in ("mlp", "conv", "adapter", "transformer")} == {
        "mlp": False,
        "conv": False,
        "adapter": True,
        "transformer": True,
    }
    with pytest.raises(
        CompositionError, match=r"'rail' learns from features that stay as they are, and 'moeadapters' adds"
    ):
        check(RAIL(), MoEAdapters())
    with pytest.raises(CompositionError, match="'rapf' learns from features that stay as they are"):
        check(RAPF(), MoEAdapters())
    assert RAPF().adapts, "its own layer, which it does not mind"
    check(RAPF(), EWC())


def test_a_teacher_that_does_not_exist_is_refused_with_its_name() -> None:
    class Dreamer(StrategyPlugin):
        teachers = frozenset({"ideal"})

    with pytest.raises(CompositionError, match=r"'dreamer': it asks for the teacher 'ideal'"):
        check(Dreamer())


def test_strategies_that_rewrite_weights_consolidate_first() -> None:
    ewc, zscl, lwf = EWC(), ZSCL(), LwF()
    assert consolidation_order([ewc, lwf, zscl]) == [zscl, ewc, lwf]
