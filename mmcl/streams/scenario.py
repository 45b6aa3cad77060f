"""Scenario: three facts about what a learner is told, and named combinations of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """What is known at test time and what may change between experiences.

    Attributes:
        name: the field's abbreviation.
        task_id_known_at_test: whether a sample comes with the index of its experience.
        label_space_at_test: ``"seen"`` (all classes so far), ``"all"`` (those to come, too), ``"shared"`` (the same for
            all experiences), ``"own"`` (the classes of the sample's experience) or ``"open"`` (free text is generated).
        modalities_change: whether experiences may differ in their modalities.
    """

    name: str
    task_id_known_at_test: bool
    label_space_at_test: str
    modalities_change: bool


CIL = Scenario("CIL", task_id_known_at_test=False, label_space_at_test="seen", modalities_change=False)
DIL = Scenario("DIL", task_id_known_at_test=False, label_space_at_test="shared", modalities_change=False)
TIL = Scenario("TIL", task_id_known_at_test=True, label_space_at_test="own", modalities_change=False)
GDIL = Scenario("GDIL", task_id_known_at_test=False, label_space_at_test="open", modalities_change=False)
MDTIL = Scenario("MDTIL", task_id_known_at_test=True, label_space_at_test="own", modalities_change=True)

SCENARIOS = {scenario.name: scenario for scenario in (CIL, DIL, TIL, GDIL, MDTIL)}

# protocols of the field between these: candidates are given and the task is not; all classes compete from the first
HIDDEN_TIL = Scenario("TIL-hidden", task_id_known_at_test=False, label_space_at_test="own", modalities_change=False)
XTAIL = Scenario("X-TAIL", task_id_known_at_test=False, label_space_at_test="all", modalities_change=False)

NAMED = {**SCENARIOS, **{scenario.name: scenario for scenario in (HIDDEN_TIL, XTAIL)}}
